/*
 * The inbox of a ring (iouring/inbox.cc) and its bell (iouring/ring.cc): threads post messages, the
 * ring's thread sleeps in the kernel until the bell wakes it.
 *
 * Two threads post to two inboxes of one ring, which share the ring's bell. One step of the model
 * is one access to what threads share. Memory is sequentially consistent here: ThreadSanitizer
 * watches the orderings. Letters are used again, so that a compare-and-swap meets an address that
 * it saw before.
 *
 * Checked: each message runs once, those of one thread to one inbox in the order posted (assert);
 * every message runs, although the ring sleeps (ltl all_run).
 *
 * Each macro MUTATE_... breaks the protocol in one place; tests/models/run expects that the check
 * then fails.
 */

#define kThreads 2
#define kMessages 2 /* of a thread */
#define kInboxes 2
#define kLetters 3
#define kNone 255

typedef Letter {
  bool in_use;
  byte thread;
  byte number; /* counts the thread's messages */
  byte next
};
Letter letter[kLetters];
byte letters[kInboxes] = kNone; /* Inbox::letters_, newest first */

bool bell = false;     /* the eventfd's counter is not 0 */
bool armed = true;     /* the multishot poll request is in the kernel */
bool awakened = false; /* a write has reached it; readiness is to be looked at */
bool completion = false;

byte posted[kThreads];
byte ran[kThreads];
byte seen[4]; /* per thread and inbox: the number of the last message that ran, plus one */

/* Inbox::post(), its write(2): it wakes the poll request. */
inline ring_bell() {
  atomic {
    bell = true;
    if
    :: armed -> awakened = true
    :: else
    fi
  }
}

/* Inbox::post() */
proctype poster(byte me) {
  byte mine, before, box;
  do
  :: posted[me] < kMessages ->
     atomic { /* new Letter, at the first address that is free */
       if
       :: box = 0
       :: box = 1
       fi;
       if
       :: !letter[0].in_use -> mine = 0
       :: letter[0].in_use && !letter[1].in_use -> mine = 1
       :: letter[0].in_use && letter[1].in_use && !letter[2].in_use -> mine = 2
       fi;
       letter[mine].in_use = true;
       letter[mine].thread = me;
       letter[mine].number = posted[me]
     }
     before = letters[box]; /* letters_.load */
     do
     :: atomic { /* compare_exchange; `next` was set before it, which no other thread sees */
          if
          :: letters[box] == before ->
             letter[mine].next = before;
             letters[box] = mine;
             posted[me]++;
             break
          :: else -> before = letters[box]
          fi
        }
     od;
     if
#ifdef MUTATE_RING_ONLY_WHEN_NOT_EMPTY
     :: before != kNone -> ring_bell()
#else
     :: before == kNone -> ring_bell()
#endif
     :: else
     fi;
     d_step { mine = 0; before = 0; box = 0 } /* for fewer states */
  :: else -> break
  od
}

/* The kernel's io_poll_check_events(): a multishot poll request completes when the eventfd is
   readable by the time that it is looked at, and may end with any completion (a completion without
   IORING_CQE_F_MORE). */
active proctype kernel() {
end:
  do
  :: atomic {
       awakened && !completion ->
       awakened = false;
       if
       :: bell ->
          completion = true;
          if
          :: true
          :: armed = false
          fi
       :: else
       fi
     }
  od
}

inline run_message() {
  assert(letter[oldest].in_use);
  assert(letter[oldest].number >= seen[letter[oldest].thread * kInboxes + box]);
  seen[letter[oldest].thread * kInboxes + box] = letter[oldest].number + 1;
  ran[letter[oldest].thread]++;
  assert(ran[letter[oldest].thread] <= posted[letter[oldest].thread])
}

/* Inbox::run_posted() */
inline run_posted() {
  d_step { /* take_all(): letters_.exchange, then what is private by now is reversed */
    newest = letters[box];
    letters[box] = kNone;
    oldest = kNone;
    do
    :: newest != kNone ->
       next = letter[newest].next;
       letter[newest].next = oldest;
       oldest = newest;
       newest = next
    :: else -> break
    od;
    next = 0
  }
  do
  :: oldest != kNone ->
     d_step {
       next = letter[oldest].next;
       run_message();
       letter[oldest].in_use = false; /* delete */
       letter[oldest].next = kNone;
       oldest = next;
       next = 0
     }
  :: else -> break
  od
}

/* Ring::on_bell(). The ring waits for a completion and polls nothing else. */
active proctype ring() {
  byte newest, oldest, next, box;
  bool more;
end:
  do
  :: atomic { completion -> completion = false; more = armed }
#ifndef MUTATE_SILENCE_AFTER_TAKING
     bell = false; /* read(2) */
#endif
#ifndef MUTATE_NEVER_ARM_AGAIN
     if
     :: !more ->
        atomic { /* arm_bell(): a new poll request looks at the eventfd itself */
          armed = true;
          awakened = bell
        }
     :: else
     fi;
#endif
     run_posted();
     box = 1;
     run_posted();
#ifdef MUTATE_SILENCE_AFTER_TAKING
     bell = false;
#endif
     box = 0
  od
}

init {
  atomic {
    run poster(0);
    run poster(1)
  }
}

ltl all_run { <> (ran[0] == kMessages && ran[1] == kMessages) }
