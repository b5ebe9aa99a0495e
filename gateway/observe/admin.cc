// The one file that includes Boost.Beast, which takes seconds to compile.
#include "gateway/observe/admin.h"

#include <pthread.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <cerrno>
#include <cstdint>
#include <exception>
#include <limits>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>

#include "gateway/observe/admin_json.h"
#include "gateway/observe/admin_request.h"
#include "gateway/observe/log.h"
#include "iouring/file_descriptor.h"
#include "iouring/list.h"
#include "iouring/signals_masked.h"

namespace sallyport::gateway {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;
using Protocol = asio::generic::stream_protocol;

constexpr std::string_view kText = "text/plain; charset=utf-8";
constexpr std::string_view kPrometheus = "text/plain; version=0.0.4; charset=utf-8";
constexpr std::string_view kJson = "application/json";

// In a row; then other clients are served.
constexpr int kAcceptsInARow = 64;
// Until accept(2) is tried again after it found no descriptor or no memory.
constexpr std::chrono::milliseconds kAcceptPause{100};
// After the answer, for the client to close: closing over bytes that were not read would reset the
// connection and may destroy the answer on its way.
constexpr std::chrono::milliseconds kLinger{1'000};

constexpr std::size_t kSlice = 200;        // of connections or peers
constexpr std::size_t kPagePeers = 1'000;  // of /peers/trust

beast::string_view view(std::string_view text) {
  return {text.data(), text.size()};
}

std::string_view view(beast::string_view text) {
  return {text.data(), text.size()};
}

// Runs functions on the server's thread, and drops them once the server has gone.
class Mailbox {
 public:
  explicit Mailbox(asio::io_context& io) : io_(&io) {}

  template <class Function>
  void post(Function function) {
    const std::lock_guard lock(mutex_);
    if (io_ != nullptr) asio::post(*io_, std::move(function));
  }
  void close() {
    const std::lock_guard lock(mutex_);
    io_ = nullptr;
  }

 private:
  std::mutex mutex_;
  asio::io_context* io_;
};

// The clients that are connected, by what they wait for. Of the server's thread.
class Client;
struct Clients {
  struct Group {
    iouring::List<Client> list;  // oldest first
    std::size_t count = 0;
  };
  Group asking;     // whose request is not whole
  Group answering;  // whose answer is not made or not sent
  Group answered;   // who have not closed

  [[nodiscard]] std::size_t count() const {
    return asking.count + answering.count + answered.count;
  }
  // Closes the one that can be spared best, if there is one: many that do the same must not cost
  // one that does something else its place.
  void close_one();
  void close_all();
};

// What the clients use of the server.
struct Shared {
  AdminOptions options;
  AdminHandlers handlers;
  std::shared_ptr<Mailbox> mailbox;
  Clients clients;
};

// One connection and its request. Its pending operation keeps it alive.
class Client : public std::enable_shared_from_this<Client>, public iouring::ListNode {
 public:
  Client(Shared& server, asio::io_context& io, const AdminAccess& access, Protocol::socket socket)
      : server_(server), access_(access), stream_(std::move(socket)), timeout_(io) {
    parser_.body_limit(std::numeric_limits<std::uint64_t>::max());  // no body is read
    join(server_.clients.asking);
  }
  ~Client() { close(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void receive() {
    stream_.expires_after(server_.options.request_timeout);
    http::async_read_header(
        stream_, received_, parser_,
        [self = shared_from_this()](error_code error, std::size_t) { self->on_request(error); });
  }

  // Its pending operations end; nothing is sent any more.
  void close() {
    if (std::exchange(closed_, true)) return;
    leave();
    timeout_.cancel();
    stream_.close();
  }

 private:
  void join(Clients::Group& group) {
    group_ = &group;
    group.list.push_back(*this);
    ++group.count;
  }
  void leave() {
    unlink();
    --group_->count;
  }

  void on_request(error_code error) {
    if (closed_) return;
    const bool malformed = error && error != http::error::end_of_stream &&
                           error != http::error::partial_message &&
                           error.category() == make_error_code(http::error::bad_method).category();
    if (error && !malformed) return close();  // left, or too slow
    leave();
    join(server_.clients.answering);
    if (malformed) return send({400, kText, "bad request\n"});
    try {
      answer();
    } catch (const std::exception& failure) {
      log_error("admin request failed",
                {{"path", view(parser_.get().target())}, {"error", failure.what()}});
      send({500, kText, "internal error\n"});
    }
  }

  void answer() {
    const AdminHandlers& handlers = server_.handlers;
    if (handlers.started && !handlers.started()) return send({503, kText, "starting\n"});
    const auto& message = parser_.get();
    const auto [first, last] = message.equal_range(http::field::host);
    std::vector<std::string_view> hosts;
    for (auto field = first; field != last; ++field) hosts.push_back(view(field->value()));
    const auto request = judge({.method = view(message.method_string()),
                                .target = view(message.target()),
                                .hosts = hosts,
                                .http_1_0 = message.version() < 11},
                               access_);
    if (!request) return send({request.error().status, kText, request.error().text});
    switch (request->page) {
      case AdminPage::kMetrics:
        return send({200, kPrometheus, handlers.metrics()});
      case AdminPage::kHealth:
        return send({200, kText, "alive\n"});
      case AdminPage::kReadiness: {
        const Readiness now = handlers.readiness();
        const std::string reason = now.reason.empty() ? "" : now.reason + "\n";
        return send(now.ready ? Answer{200, kText, "ready\n" + reason}
                              : Answer{503, kText, reason});
      }
      case AdminPage::kConnections:
        return list_connections(*request);
      case AdminPage::kPeers:
        return list_peers({}, std::numeric_limits<std::size_t>::max(), peer_list());
      case AdminPage::kPeersTrust:
        return list_trust(*request);
      case AdminPage::kRefusals:
        return send({200, kJson, handlers.refusals_json()});
      case AdminPage::kDiscovery:
        return send({200, kJson, handlers.discovery_json()});
      case AdminPage::kRoutes:
        return send({200, kJson, handlers.routes_json()});
      case AdminPage::kCredentials:
        return send({200, kJson, handlers.credentials_json()});
    }
  }

  // ---- of the shards: slice by slice, so that neither a shard nor another client waits for it

  void list_connections(const AdminRequest& request) {
    const auto total =
        request.total ? std::optional(server_.handlers.connection_count()) : std::nullopt;
    list_ = std::make_unique<ConnectionList>(total);
    left_ = request.limit;
    await_shards();
    ask(ConnectionCursor{});
  }

  void list_trust(const AdminRequest& request) {
    const InForce now = server_.handlers.in_force();
    const auto from = cursor_of(request.after, now.shards);
    if (!from) return send({400, kText, "after is no place in this list\n"});
    list_peers(*from, kPagePeers, trust_page(now));
  }

  void list_peers(PeerCursor from, std::size_t most, std::unique_ptr<PeersPage> page) {
    peers_ = std::move(page);
    left_ = most;
    await_shards();
    ask(from);
  }

  void await_shards() {
    timeout_.expires_after(server_.options.request_timeout);
    timeout_.async_wait([self = shared_from_this()](error_code error) {
      if (error || (!self->list_ && !self->peers_)) return;
      self->send({503, kText, "a shard did not answer in time\n"});
    });
  }

  // Takes a shard's answer to this thread, to take().
  template <class Slice>
  auto taker() {
    return [mailbox = server_.mailbox, client = weak_from_this()](Slice slice) {
      mailbox->post([client, slice = std::move(slice)] {
        if (const auto self = client.lock()) self->take(slice);
      });
    };
  }

  void ask(ConnectionCursor from) {
    server_.handlers.connections(from, std::min(left_, kSlice), taker<ConnectionSlice>());
  }
  void ask(PeerCursor from) {
    server_.handlers.peers(from, std::min(left_, kSlice), peers_->which(), taker<PeerSlice>());
  }

  void take(const ConnectionSlice& slice) {
    if (closed_ || !list_) return;
    for (const ConnectionFacts& connection : slice.connections) list_->add(connection);
    left_ -= std::min(left_, slice.connections.size());
    if (left_ > 0 && slice.next) return ask(*slice.next);
    timeout_.cancel();
    send({200, kJson, list_->finish()});
  }

  void take(const PeerSlice& slice) {
    if (closed_ || !peers_) return;
    for (const PeerFacts& peer : slice.peers) peers_->add(peer);
    left_ -= std::min(left_, slice.peers.size());
    if (left_ > 0 && slice.next) return ask(*slice.next);
    timeout_.cancel();
    send({200, kJson, peers_->finish(slice.next)});
  }

  // ---- the answer

  struct Answer {
    int status;
    std::string_view type;
    std::string body;
  };

  void send(Answer answer) {
    list_.reset();
    peers_.reset();
    response_.version(11);
    response_.result(static_cast<unsigned>(answer.status));
    response_.set(http::field::content_type, view(answer.type));
    if (answer.status == 405) response_.set(http::field::allow, "GET, HEAD");
    response_.set(http::field::cache_control, "no-store");
    response_.set("X-Content-Type-Options", "nosniff");
    response_.keep_alive(false);
    response_.content_length(answer.body.size());
    if (parser_.get().method() != http::verb::head) response_.body() = std::move(answer.body);
    stream_.expires_after(server_.options.request_timeout);
    http::async_write(stream_, response_,
                      [self = shared_from_this()](error_code error, std::size_t) {
                        if (error || self->closed_) return self->close();
                        self->end();
                      });
  }

  void end() {
    error_code error;
    if (stream_.socket().shutdown(asio::socket_base::shutdown_send, error)) return close();
    leave();
    join(server_.clients.answered);
    stream_.expires_never();
    // Not by the stream, whose timeout is not heard while bytes always wait to be read.
    timeout_.expires_after(kLinger);
    timeout_.async_wait([self = shared_from_this()](error_code ended) {
      if (!ended) self->close();
    });
    linger();
  }

  // Until the client closes.
  void linger() {
    received_.clear();
    stream_.async_read_some(received_.prepare(1024),
                            [self = shared_from_this()](error_code error, std::size_t) {
                              if (error || self->closed_) return self->close();
                              self->linger();
                            });
  }

  Shared& server_;
  Clients::Group* group_ = nullptr;
  const AdminAccess& access_;
  beast::basic_stream<Protocol> stream_;
  beast::flat_buffer received_;
  http::request_parser<http::empty_body> parser_;
  http::response<http::string_body> response_;
  asio::steady_timer timeout_;            // with the shards, then with what comes behind the answer
  std::unique_ptr<ConnectionList> list_;  // while the shards are asked
  std::unique_ptr<PeersPage> peers_;      // likewise
  std::size_t left_ = 0;                  // to be listed
  bool closed_ = false;
};

void Clients::close_one() {
  Group& waiting = answering.count > asking.count ? answering : asking;
  Group& from = answered.count > 0 ? answered : waiting;
  if (from.count > 0) from.list.front().close();
}

void Clients::close_all() {
  while (count() > 0) close_one();
}

// Accepts at one address. Of the server's thread.
class Acceptor {
 public:
  Acceptor(Shared& server, asio::io_context& io, AdminListener listener)
      : server_(server),
        io_(io),
        listener_(std::move(listener)),
        access_({.all_pages = listener_.address().is_loopback() || server.options.expose_all,
                 .literal_hosts_only =
                     listener_.address().is_loopback() && !listener_.address().is_unix()}),
        descriptor_(io, listener_.release()),
        pause_(io) {
    wait();
  }

  [[nodiscard]] bool is_at_port() const { return !listener_.address().is_unix(); }
  // Of the thread that made it: the server's uses the descriptor only.
  [[nodiscard]] std::expected<void, std::string> take_place() { return listener_.take_place(); }

  void stop() {
    descriptor_.close();
    pause_.cancel();
  }

 private:
  void wait() {
    descriptor_.async_wait(asio::posix::stream_descriptor::wait_read, [this](error_code error) {
      if (!error) accept_waiting();
    });
  }

  void accept_waiting() {
    for (int i = 0; i < kAcceptsInARow; ++i) {
      iouring::FileDescriptor accepted(
          ::accept4(descriptor_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (accepted) {
        start_client(std::move(accepted));
      } else if (errno == EAGAIN) {
        break;
      } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        server_.clients.close_one();
        return wait_a_little();
      }  // else an error of the connection that is now gone (accept(2))
    }
    wait();
  }

  // Closes the connection if there is no memory for it, or epoll takes no more (epoll_ctl(2)).
  void start_client(iouring::FileDescriptor accepted) {
    if (server_.clients.count() >= server_.options.max_clients) server_.clients.close_one();
    try {
      Protocol::socket socket(io_);
      socket.assign(Protocol(listener_.address().family(), 0), accepted.get());
      (void)accepted.release();
      std::make_shared<Client>(server_, io_, access_, std::move(socket))->receive();
    } catch (const std::exception& failure) {
      log_error("admin connection failed", {{"error", failure.what()}});
    }
  }

  // The connection that found no descriptor stays in the backlog, so that waiting for it would end
  // at once, again and again.
  void wait_a_little() {
    pause_.expires_after(kAcceptPause);
    pause_.async_wait([this](error_code error) {
      if (!error) accept_waiting();
    });
  }

  Shared& server_;
  asio::io_context& io_;
  AdminListener listener_;
  AdminAccess access_;
  asio::posix::stream_descriptor descriptor_;
  asio::steady_timer pause_;
};

}  // namespace

// Destroyed from the end, when no client is left.
struct AdminServer::State {
  asio::io_context io{1};
  Shared shared;
  std::vector<std::unique_ptr<Acceptor>> acceptors;
  std::thread thread;

  void run();
  void stop();
};

void AdminServer::State::run() {
  pthread_setname_np(pthread_self(), "admin");
  for (;;) {
    try {
      io.run();  // until stop() has left nothing to wait for
      return;
    } catch (const std::exception& failure) {
      log_error("admin connection failed", {{"error", failure.what()}});
    }
  }
}

void AdminServer::State::stop() {
  for (const auto& acceptor : acceptors) acceptor->stop();
  shared.clients.close_all();
}

AdminServer::AdminServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

std::expected<void, std::string> AdminServer::take_places() {
  for (const auto& acceptor : state_->acceptors)
    if (auto taken = acceptor->take_place(); !taken) return taken;
  return {};
}

void AdminServer::leave_ports() {
  state_->shared.mailbox->post([state = state_.get()] {
    for (const auto& acceptor : state->acceptors)
      if (acceptor->is_at_port()) acceptor->stop();
  });
}

AdminServer::~AdminServer() {
  state_->shared.mailbox->post([state = state_.get()] { state->stop(); });
  state_->shared.mailbox->close();
  state_->thread.join();
}

std::expected<std::unique_ptr<AdminServer>, std::string> AdminServer::start(
    std::vector<AdminListener> listeners, AdminOptions options, AdminHandlers handlers) {
  try {
    auto state = std::make_unique<State>();
    state->shared.options = options;
    state->shared.handlers = std::move(handlers);
    state->shared.mailbox = std::make_shared<Mailbox>(state->io);
    for (AdminListener& listener : listeners) {
      state->acceptors.push_back(
          std::make_unique<Acceptor>(state->shared, state->io, std::move(listener)));
    }
    const iouring::SignalsMasked masked;
    state->thread = std::thread([state = state.get()] { state->run(); });
    return std::unique_ptr<AdminServer>(new AdminServer(std::move(state)));
  } catch (const std::exception& failure) {
    return std::unexpected("admin: " + std::string(failure.what()));
  }
}

}  // namespace sallyport::gateway
