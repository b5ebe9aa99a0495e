#include "gateway/run/egress_address.h"

#include <optional>
#include <utility>

#include "gateway/policy/host_name.h"
#include "gateway/run/option_values.h"

namespace sallyport::gateway {
namespace {

constexpr std::string_view kMode = "mode=";
constexpr std::string_view kOwner = "owner=";
constexpr std::string_view kGroup = "group=";

// Of a unix socket, as they are given behind its route.
struct Settings {
  std::optional<mode_t> mode;
  std::string owner, group;
};

// What is wrong with a setting; nothing: it was taken.
std::optional<std::string> take_setting(Settings& settings, std::string_view setting) {
  if (setting.starts_with(kMode)) {
    if (settings.mode) return "has mode= twice";
    settings.mode = parse_mode(setting.substr(kMode.size()));
    if (!settings.mode) return "has no mode such as 0600 or 0660 behind mode=";
    return std::nullopt;
  }
  const bool owner = setting.starts_with(kOwner);
  const std::string which = owner ? "owner" : "group";
  const std::string_view name = setting.substr(owner ? kOwner.size() : kGroup.size());
  std::string& taken = owner ? settings.owner : settings.group;
  if (name.empty()) return "names no " + which;
  if (!taken.empty()) return "has " + which + "= twice";
  taken = name;
  return std::nullopt;
}

bool is_setting(std::string_view text) {
  return text.starts_with(kMode) || text.starts_with(kOwner) || text.starts_with(kGroup);
}

}  // namespace

std::expected<EgressAddress, std::string> parse_egress_address(std::string_view text) {
  EgressAddress egress{.text = std::string(text), .address = {}, .route = {}};
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos)
    return std::unexpected("is not ADDR:PORT=ROUTE or unix:/PATH=ROUTE");
  const std::string_view address = text.substr(0, equals);
  std::string_view route = text.substr(equals + 1);
  if (address.starts_with("unix:")) {
    const auto parsed = iouring::SocketAddress::parse(address);
    if (!parsed || !address.starts_with("unix:/"))
      return std::unexpected("is not unix:/PATH=ROUTE, with a path of at most 107 bytes");
    egress.address = *parsed;
    Settings settings;
    for (std::size_t comma = route.rfind(',');
         comma != std::string_view::npos && is_setting(route.substr(comma + 1));
         comma = route.rfind(',')) {
      if (auto wrong = take_setting(settings, route.substr(comma + 1)))
        return std::unexpected(*std::move(wrong));
      route = route.substr(0, comma);
    }
    egress.mode = settings.mode.value_or(egress.mode);
    egress.owner = std::move(settings.owner);
    egress.group = std::move(settings.group);
  } else {
    auto listen = parse_listen_address(address);
    if (!listen) return std::unexpected(std::move(listen.error()));
    egress.address = listen->address;
  }
  if (!is_route_name(route)) return std::unexpected("names no route behind the '='");
  egress.route = route;
  return egress;
}

}  // namespace sallyport::gateway
