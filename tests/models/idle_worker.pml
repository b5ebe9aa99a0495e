/*
 * The idle-priority worker (iouring/idle_worker.cc): how pieces of work are offered to a thread that
 * may be kept from running for as long as its core is busy, withdrawn from it, and collected.
 *
 * One step of the model is one access to what the two threads share. Memory is sequentially
 * consistent here: ThreadSanitizer watches the orderings. next() takes any piece that is queued, so
 * that every order of ranks is among the orders seen. IdleWorker::inbox_ is one flag: inbox.pml has
 * what an inbox promises.
 *
 * The thread may stop at each of its steps, for ever, while it is under SCHED_IDLE; under SCHED_OTHER
 * it goes on. Timers expire at any time. Pieces are given and cancelled at any time, and their
 * addresses are used again; the worker becomes quiet, or no longer quiet, at any time.
 *
 * Checked (assert): a piece is executed once at most, never after its caller has gone on, and never
 * when it was cancelled; collect() is in the inbox once at most; no offer is overwritten; nothing is
 * left when the last piece has ended. Checked (ltl): each piece that was given ends (all_end), and
 * the thread ends when it is told to (thread_ends).
 *
 * Each macro MUTATE_... breaks the protocol in one place; tests/models/run expects that the check
 * then fails. Four of them are the code as it was before this model.
 */

#ifndef kGivings
#define kGivings 2 /* of both pieces together */
#endif
#ifndef kChanges
#define kChanges 1 /* of quiet_ */
#endif
#define kPieces 2
#ifndef kOffers
#define kOffers 2
#endif
#define kNone 255

/* A piece of work: Work, in the frame that awaits it. */
mtype = { absent, queued, offered, executing, executed };
mtype state[kPieces] = absent; /* absent: no frame awaits it */
byte position[kPieces];        /* Work::position_ */
byte next_done[kPieces] = kNone;
bool cancelled[kPieces]; /* its scope was, once */
byte given = 0;          /* how often a piece was, both together */

/* Shared by the two threads. So few positions are used that they do not come round here. */
byte slots[kOffers] = kNone;
byte offered_count = 0; /* offered_ */
byte taken = 0;
byte passed = 0;
byte done = kNone; /* newest first */
bool collect_posted = false;
bool stopping = false;
bool mail = false;     /* collect() is in the inbox */
bool sleeping = false; /* the thread is in offered_.wait(), until notify_one() */

/* The ring's thread. */
byte queued_count = 0; /* queued_ */
byte size = 0;
byte offered_work[kOffers] = kNone;
bool quiet = false;
bool bypassed = false;
bool boosted = false; /* the thread is under SCHED_OTHER */
byte last_progress = 0;
bool timer_armed = false;
bool timer_expired = false;
bool retry_due = false;    /* now >= retry_at_ */
bool ran_bypassed = false; /* run_on_ring() ran since: a retry is due after many iterations only */
bool hook = false;         /* ready_hook_ is linked */
byte changes = 0;          /* of quiet */
bool callers_rest = false; /* they do nothing more: what was given has to end without them */
bool stop_called = false;
bool thread_ended = false;

#define RUNS_ON_RING (bypassed || quiet)
#define PROGRESS (taken + passed)

/* ---- the ring's thread */

/* Work::complete(). The caller's frame may go at once. */
inline complete(which) {
  size--;
  cancelled[which] = false;
  position[which] = 0;
  state[which] = absent
}

/* next() */
inline take_next() {
  if
  :: state[0] == queued -> piece = 0
  :: state[1] == queued -> piece = 1
  fi;
  queued_count--
}

/* offer(). A slot is looked at by the thread once offered_ says so: storing into it is no step. */
inline offer() {
  at = offered_count;
  do
  :: atomic {
       at - taken < kOffers && queued_count > 0 -> /* taken_.load */
       take_next();
       position[piece] = at;
       offered_work[at % kOffers] = piece;
       state[piece] = offered;
       assert(slots[at % kOffers] == kNone);
       slots[at % kOffers] = piece;
       at++
     }
  :: atomic { at - taken == kOffers || queued_count == 0 -> break }
  od;
  atomic {
    if
    :: at != offered_count ->
       offered_count = at; /* offered_.store */
       sleeping = false    /* notify_one */
    :: else
    fi;
    at = 0;
    piece = 0
  }
  atomic {
    if
    :: size > 0 && !timer_armed ->
       last_progress = PROGRESS;
       timer_armed = true
    :: else
    fi
  }
}

/* set_quiet() */
inline set_quiet() {
  changes++;
  quiet = !quiet;
#ifndef MUTATE_QUIET_LEAVES_THE_QUEUE
  if
  :: quiet && queued_count > 0 -> hook = true
  :: else
  fi
#endif
}

/* Work::begin() and enqueue() */
inline enqueue(which) {
  atomic {
    given < kGivings && state[which] == absent && !callers_rest ->
    state[which] = queued;
    given++;
    queued_count++;
    size++;
    if
    :: RUNS_ON_RING -> hook = true /* schedule_run_on_ring() */
    :: else
    fi
  }
  if
  :: !RUNS_ON_RING -> offer()
  :: else
  fi
}

/* withdraw(), a compare_exchange: `withdrawn` says whether the piece is the ring's again. */
inline withdraw(which) {
  withdrawn = false;
  if
  :: offered_work[position[which] % kOffers] == which ->
     if
#ifdef MUTATE_WITHDRAW_WITHOUT_COMPARING
     :: true ->
#else
     :: slots[position[which] % kOffers] == which ->
#endif
        slots[position[which] % kOffers] = kNone;
        offered_work[position[which] % kOffers] = kNone;
        withdrawn = true
     :: else
     fi
  :: else
  fi
}

/* Work::on_cancel() and remove() */
inline cancel(which) {
  cancelled[which] = true;
  if
  :: state[which] == queued ->
     queued_count--;
     complete(which)
  :: else ->
     withdraw(which);
     if
     :: withdrawn -> complete(which)
     :: else
     fi
  fi;
  withdrawn = false
}

/* collect(): done_.exchange and what follows. The order is of no matter here: newest first. */
inline complete_done() {
  newest = done;
  done = kNone;
  do
  :: newest != kNone ->
     assert(state[newest] == executed);
     piece = newest;
     newest = next_done[newest];
     next_done[piece] = kNone;
     if
     :: offered_work[position[piece] % kOffers] == piece ->
        offered_work[position[piece] % kOffers] = kNone
     :: else
     fi;
     complete(piece)
  :: else -> break
  od;
  piece = 0;
  newest = 0
}

inline collect() {
#ifdef MUTATE_COLLECT_BEFORE_CLEARING
  atomic { complete_done() }
  collect_posted = false;
#else
  collect_posted = false; /* collect_posted_.exchange */
  atomic { complete_done() }
#endif
  boosted = false; /* set_scheduling_class(SCHED_IDLE) */
  if
  :: !RUNS_ON_RING -> offer()
  :: else
  fi
}

/* check_progress(): offers that were not begun come back into the queue. */
inline withdraw_all() {
  do
  :: atomic {
       at < kOffers ->
       piece = offered_work[at];
       if
       :: piece != kNone ->
          withdraw(piece);
          if
          :: withdrawn ->
             state[piece] = queued;
             queued_count++
          :: else
          fi
       :: else
       fi;
       at++
     }
  :: atomic {
       at == kOffers ->
       at = 0;
       piece = 0;
       withdrawn = false;
       break
     }
  od
}

#ifdef MUTATE_QUEUE_IS_NOT_LOOKED_AT
#define ALL_IS_WELL (!bypassed && (PROGRESS != last_progress || (passed == offered_count && done == kNone)))
#else
#define ALL_IS_WELL (!bypassed && PROGRESS != last_progress)
#endif

/* check_progress(), at the expiry of progress_timer_ */
inline check_progress() {
  if
#ifdef MUTATE_CHECK_NO_MORE_ONCE_BYPASSED
  :: bypassed || size == 0
#else
  :: size == 0 || (RUNS_ON_RING && size == queued_count) /* nothing is expected of the thread */
#endif
  :: else ->
#ifdef MUTATE_BOOST_BY_COUNTERS
     seen_passed = passed;          /* passed_.load */
     uncollected = (done != kNone); /* done_.load */
#endif
     if
     :: atomic { ALL_IS_WELL -> last_progress = PROGRESS; timer_armed = true }
     :: atomic {
          !ALL_IS_WELL ->
          if
          :: !bypassed ->
             bypassed = true;
             retry_due = false;
             ran_bypassed = false
          :: else
          fi
#ifdef MUTATE_BOOST_BY_COUNTERS
          ; boost = (seen_passed != taken || uncollected)
#endif
        }
        withdraw_all();
        atomic {
#ifndef MUTATE_BOOST_BY_COUNTERS
          boost = (size > queued_count); /* some pieces are with the thread */
#endif
#ifndef MUTATE_NO_BOOST
          if
          :: boost ->
             boosted = true; /* set_scheduling_class(SCHED_OTHER) */
             timer_armed = true
          :: else
          fi;
#endif
          boost = false;
          hook = true
        }
     fi
  fi;
#ifdef MUTATE_BOOST_BY_COUNTERS
  atomic { seen_passed = 0; uncollected = false }
#endif
}

/* What those who give pieces do: give one, cancel one, change quiet_, or stop. */
inline callers_act() {
  if
  :: enqueue(0)
  :: enqueue(1)
  :: atomic { state[0] != absent && !cancelled[0] && !callers_rest -> cancel(0) }
  :: atomic { state[1] != absent && !cancelled[1] && !callers_rest -> cancel(1) }
  :: atomic { changes < kChanges && !callers_rest -> set_quiet() }
  :: atomic { !callers_rest -> callers_rest = true }
  fi
}

/* run_on_ring(), called by ready_hook_: one piece, and what awaited it goes on at once. More pieces
   in an iteration are as many iterations here. */
inline run_on_ring() {
  atomic {
    if
    :: bypassed && retry_due ->
       bypassed = false;
       retry_due = false
    :: else
    fi;
    ran_bypassed = bypassed;
    if
    :: RUNS_ON_RING && queued_count > 0 ->
       take_next();
       complete(piece); /* executed on this thread, and ended */
       piece = 0;
       ran = true
    :: else
    fi
  }
  if
  :: ran ->
     ran = false;
     if
     :: callers_act()
     :: skip
     fi;
     if
     :: queued_count > 0 -> hook = true
     :: else
     fi
  :: !ran && !RUNS_ON_RING -> offer()
  :: else
  fi
}

/* Iterations of the ring: what callers do, then completions, timers and ready hooks. */
active proctype ring() {
  byte at, piece, newest;
  bool withdrawn, boost, ran;
#ifdef MUTATE_BOOST_BY_COUNTERS
  byte seen_passed;
  bool uncollected;
#endif
  do
  :: callers_act()
  :: mail || timer_expired || hook ->
     if
     :: mail ->
        mail = false;
        collect()
     :: else
     fi;
     if
     :: timer_expired ->
        atomic { timer_expired = false; timer_armed = false }
        check_progress()
     :: else
     fi;
     if
     :: hook ->
        hook = false;
        run_on_ring()
     :: else
     fi
  :: callers_rest && size == 0 -> break
  od;
  /* stop() */
  assert(queued_count == 0 && done == kNone);
  assert(slots[0] == kNone && slots[kOffers - 1] == kNone);
  boosted = true;
  stopping = true;
  atomic {
    offered_count++; /* fetch_add */
#ifndef MUTATE_STOP_WITHOUT_NOTIFY
    sleeping = false; /* notify_one */
#endif
    stop_called = true
  }
}

/* ---- the worker's thread: no step of it happens while it may not run */

bool core_is_busy = false; /* with other than SCHED_IDLE */
#define MAY_RUN (!core_is_busy || boosted)

active proctype core() {
end:
  do
  :: atomic { !core_is_busy && !stop_called -> core_is_busy = true }
  :: atomic { core_is_busy -> core_is_busy = false }
  :: core_is_busy -> break /* for ever */
  od
}

active proctype clock() {
end:
  do
  :: atomic { timer_armed && !timer_expired -> timer_expired = true }
  :: atomic { bypassed && ran_bypassed && !retry_due -> retry_due = true }
  od
}

active proctype thread_main() {
  byte mine = 0, work = kNone, head = 0;
  bool any_passed = false;
again:
  if
  :: atomic { MAY_RUN && mine != offered_count -> skip } /* offered_.load */
  :: atomic { MAY_RUN && mine == offered_count -> skip }
     if
     :: any_passed -> /* report() */
        any_passed = false;
        if
        :: atomic { MAY_RUN && !collect_posted -> collect_posted = true } /* exchange */
           atomic { MAY_RUN -> assert(!mail); mail = true }               /* Inbox::post() */
        :: atomic { MAY_RUN && collect_posted -> skip }
        fi
     :: else
     fi;
     atomic { MAY_RUN -> sleeping = (mine == offered_count) } /* wait: compares, then sleeps */
     atomic { MAY_RUN && !sleeping -> goto again }
  fi;
  atomic { /* slots_[].exchange */
    MAY_RUN ->
    work = slots[mine % kOffers];
    slots[mine % kOffers] = kNone
  }
  atomic { /* taken_.store */
    MAY_RUN ->
    mine++;
    taken = mine;
    any_passed = true
  }
  if
  :: work == kNone ->
     if
     :: atomic { MAY_RUN && stopping -> goto ended } /* stopping_.load */
     :: atomic { MAY_RUN && !stopping -> skip }
     fi
  :: else ->
     atomic { MAY_RUN -> assert(state[work] == offered); state[work] = executing }
     atomic {
       MAY_RUN ->
       assert(state[work] == executing);
       state[work] = executed;
       head = done /* done_.load */
     }
push:
     if
     :: atomic { /* compare_exchange */
          MAY_RUN && done == head ->
          next_done[work] = head;
          done = work;
          work = kNone;
          head = 0
        }
     :: atomic { MAY_RUN && done != head -> head = done; goto push }
     fi
  fi;
  atomic { MAY_RUN -> passed = mine } /* passed_.store */
  goto again;
ended:
  thread_ended = true
}

ltl all_end { [] (state[0] != absent -> <> (state[0] == absent)) }
ltl thread_ends { [] (stop_called -> <> thread_ended) }
