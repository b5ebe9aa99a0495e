// What the command line and the first look at the files decide: 0, 1 or 2, with the reason.
#include "tests/e2e/scenario.h"

namespace sallyport::test {
namespace {

class CommandLine : public Scenario {
 protected:
  void SetUp() override { discover({"127.0.0.1:9"}); }

  Finished check(std::vector<std::string> given = {}) {
    given.push_back("--check");
    return run_sallyport(flags(std::move(given)));
  }
  void expect_bad(const std::vector<std::string>& given, const std::string& named) {
    const Finished finished = check(given);
    EXPECT_EQ(finished.status, 2) << named << finished.out << finished.err;
    EXPECT_NE(finished.err.find(named), std::string::npos) << named << " in " << finished.err;
    EXPECT_EQ(sanitizer_report(finished.err), "");
  }
};

TEST_F(CommandLine, CheckOfAGoodConfigurationIsZero) {
  const Finished finished = check();
  EXPECT_EQ(finished.status, 0) << finished.err;
  EXPECT_EQ(sanitizer_report(finished.err), "");
}

TEST_F(CommandLine, CheckSaysWhatItHasRead) {
  const Finished finished =
      check({"--crl", dir.write("root.crl", root.crl({client.serial})), "--idle-timeout", "5m"});
  EXPECT_EQ(finished.status, 0) << finished.err;
  for (const char* line :
       {"listener 127.0.0.1:0: mutual TLS\n",
        "route orders: 1 target, 1 identity pattern, any server name, any protocol\n",
        "gateway.pem: CN=gateway, ", "ca.pem: 1 anchor, 0 intermediates, ",
        "root.crl: of CN=Mesh Root, 1 revoked, ", "\nshards: ", "\nrecords: ",
        " idle-timeout=300000ms ", " share-port=off ", "configuration is good\n"}) {
    EXPECT_NE(finished.out.find(line), std::string::npos) << line << " in " << finished.out;
  }
}

TEST_F(CommandLine, CheckTellsPinnedLeavesFromAuthorities) {
  const std::string pinned = dir.write("pinned.pem", client.cert_pem);
  const Finished finished = check({"--ca", pinned, "--partial-chain"});
  EXPECT_EQ(finished.status, 0) << finished.err;
  EXPECT_NE(finished.out.find("pinned.pem: 0 anchors, 0 intermediates, 1 pinned leaf certificate"),
            std::string::npos)
      << finished.out;
}

TEST_F(CommandLine, AUserAndAddressesThatAreNotHereAreTwo) {
  expect_bad({"--user", "no-such-user"}, "--user no-such-user");
  expect_bad({"--listen", "192.0.2.1:443"}, "--listen 192.0.2.1:443");  // RFC 5737
  expect_bad({"--admin", "192.0.2.1:9464"}, "--admin 192.0.2.1:9464");
}

TEST_F(CommandLine, CheckLeavesTheAddressesToAGatewayThatRuns) {
  Backend backend(echo());
  start_for(backend);
  const Finished finished = check({"--listen", gateway->address(), "--admin", gateway->admin()});
  EXPECT_EQ(finished.status, 0) << finished.err;
}

TEST_F(CommandLine, VersionAndHelpAreZero) {
  EXPECT_EQ(run_sallyport({"--version"}).status, 0);
  const Finished help = run_sallyport({"--help"});
  EXPECT_EQ(help.status, 0);
  EXPECT_NE(help.out.find("--listen"), std::string::npos);
}

TEST_F(CommandLine, UnknownAndMissingFlagsAreTwo) {
  expect_bad({"--no-such-flag"}, "no-such-flag");
  EXPECT_EQ(run_sallyport({}).status, 2);
  EXPECT_EQ(run_sallyport({"--listen", "127.0.0.1:0"}).status, 2);
}

// One after another was told, each by a start of its own.
TEST_F(CommandLine, AStartTellsAllThatIsWrong) {
  const Finished finished = run_sallyport(
      flags({"--lsiten", "127.0.0.1:0", "--listen", "192.0.2.1:443", "--records", "kernal",
             "--discovery", dir / "nowhere.json", "--crl", dir / "nowhere.crl"}));
  EXPECT_EQ(finished.status, 2);
  for (const char* const error :
       {"--lsiten unknown flag; did you mean '--listen'?", "did you mean 'kernel'?",
        "--listen 192.0.2.1:443: ", "nowhere.json: ", "nowhere.crl: ", "--help lists all flags"})
    EXPECT_NE(finished.err.find(error), std::string::npos) << error << " in " << finished.err;
}

TEST_F(CommandLine, AStartReadsTheFilesAlthoughItsAddressesAreInUse) {
  Backend backend(echo());
  start_for(backend);
  const Finished finished =
      run_sallyport(flags({"--listen", gateway->address(), "--admin", gateway->admin(), "--policy",
                           dir.write("policy.json", R"({"routes": {"r": {"alow": []}}})")}));
  EXPECT_EQ(finished.status, 2) << "of both kinds of error";
  for (const char* const error :
       {"cannot listen", "another process listens there", "cannot start the admin server",
        "policy.json:1: routes.r.alow: unknown key; did you mean 'allow'?"})
    EXPECT_NE(finished.err.find(error), std::string::npos) << error << " in " << finished.err;
}

TEST_F(CommandLine, BusyPollingServesAsBefore) {
  Backend backend(echo());
  start_for(backend, {"--busy-poll", "1000", "--shards", "2"});
  TlsClient first = connect();
  TlsClient second = connect();
  EXPECT_TRUE(first.echo("while nothing else happens"));
  EXPECT_TRUE(second.echo(std::string(100'000, 'x')));
}

TEST_F(CommandLine, KindsOfRulesExcludeEachOther) {
  expect_bad({"--allow", "spiffe://example.org/**", "--allow-any-verified"}, "allow");
  const std::string policy =
      dir.write("policy.json", R"({"routes": {"orders": {"allow-any-verified": true}}})");
  expect_bad({"--allow", "spiffe://example.org/**", "--policy", policy}, "policy");
}

TEST_F(CommandLine, WithoutAnyRuleTheGatewayDoesNotStart) {
  std::vector<std::string> all = flags({"--check"});
  const auto allow = std::find(all.begin(), all.end(), "--allow");
  all.erase(allow, allow + 2);
  const Finished finished = run_sallyport(all);
  EXPECT_EQ(finished.status, 2);
  EXPECT_NE(finished.err.find("allow"), std::string::npos) << finished.err;
}

TEST_F(CommandLine, BadValuesAreTwoAndNamed) {
  expect_bad({"--listen", "localhost:443"}, "--listen");
  expect_bad({"--handshake-timeout", "10"}, "--handshake-timeout");
  expect_bad({"--shards", "none"}, "--shards");
  expect_bad({"--allow", "spiffe://*/x"}, "spiffe://*/x");
  expect_bad({"--allow", "dns:*.org"}, "dns:*.org");
  expect_bad({"--ciphersuites", "TLS_NO_SUCH_SUITE"}, "ciphersuites");
  expect_bad({"--groups", "no-such-group"}, "groups");
}

TEST_F(CommandLine, SaysWhatTheKernelCanDoAndDoesNotStartOnWhatItCannot) {
  const Finished asked = check({"--records", "auto"});
  EXPECT_EQ(asked.status, 0) << asked.err;
  EXPECT_NE(asked.out.find("kernel TLS:"), std::string::npos) << asked.out;
  const Finished not_asked = check({"--records", "userspace"});
  EXPECT_EQ(not_asked.status, 0) << not_asked.err;
  EXPECT_EQ(not_asked.out.find("kernel TLS:"), std::string::npos) << not_asked.out;

  if (asked.out.find("unavailable") == std::string::npos) {
    EXPECT_EQ(check({"--records", "kernel"}).status, 0);
    return;
  }
  expect_bad({"--records", "kernel"}, "--records 'kernel' cannot be honoured");
  const Finished started = run_sallyport(flags({"--records", "kernel"}));
  EXPECT_EQ(started.status, 2);
  EXPECT_NE(started.err.find("cannot be honoured"), std::string::npos) << started.err;
}

TEST_F(CommandLine, MissingAndUnreadableFilesAreTwoAndNamed) {
  expect_bad({"--discovery", dir / "nowhere.json"}, "nowhere.json");
  expect_bad({"--ca", dir / "nowhere.pem"}, "nowhere.pem");
  expect_bad({"--crl", dir / "nowhere.crl"}, "nowhere.crl");
  expect_bad({"--policy", dir / "nowhere.json"}, "nowhere.json");
}

TEST_F(CommandLine, KeysMustFitAndBePrivate) {
  const std::string cert = dir.write("a.pem", server.chain_pem);
  const std::string other = dir.write_secret("other.key", client.key_pem);
  expect_bad({"--cert", cert, "--key", other}, "a.pem");
  const std::string open = dir.write("open.key", server.key_pem, 0644);
  expect_bad({"--cert", cert, "--key", open}, "open.key");
  const std::string tickets = dir.write("open.tickets", std::string(64, 'a'), 0644);
  expect_bad({"--ticket-keys", tickets}, "open.tickets");
}

// As a bad command line is told: a script knows whose words these are.
TEST_F(CommandLine, CheckTellsOneFaultInOneLineWithTheNameOfTheProgram) {
  const std::string cert = dir.write("a.pem", server.chain_pem);
  const std::string open = dir.write("open.key", server.key_pem, 0644);
  const Finished finished = check({"--cert", cert, "--key", open});
  EXPECT_EQ(finished.status, 2);
  EXPECT_EQ(finished.err,
            "sallyport: " + open + ": mode 0644 lets every user use it (chmod 600)\n");
}

TEST_F(CommandLine, UnscopedAnchorsBesideSeveralTrustDomainsAreAnError) {
  expect_bad({"--allow", "spiffe://example.org/**", "--allow", "spiffe://partner.org/**"}, "ca");
}

TEST_F(CommandLine, AConfigurationFileGivesFlagsAndTheCommandLineBeatsIt) {
  const std::vector<std::string> all = flags();
  std::string file = "# everything\n";
  for (std::size_t i = 0; i < all.size(); i += 2) {
    if (all[i] != "--listen") file += all[i].substr(2) + " = " + all[i + 1] + "\n";
  }
  file += "listen = 127.0.0.1:1\n";
  const std::string config = dir.write("sallyport.conf", file);
  EXPECT_EQ(run_sallyport({"--config", config, "--check"}).status, 0);
  gateway = std::make_unique<Gateway>(
      std::vector<std::string>{"--config", config, "--listen", "127.0.0.1:0"});
  EXPECT_EQ(gateway->address().substr(0, 10), "127.0.0.1:");

  dir.write("bad.conf", file + "no-such-name = 1\n");
  const Finished finished = run_sallyport({"--config", dir / "bad.conf", "--check"});
  EXPECT_EQ(finished.status, 2);
  EXPECT_NE(finished.err.find("no-such-name"), std::string::npos) << finished.err;
}

TEST_F(CommandLine, TextLogsAreText) {
  const Finished finished =
      run_sallyport(flags({"--log-format", "text", "--discovery", dir / "nowhere.json"}));
  EXPECT_EQ(finished.status, 2);
  EXPECT_NE(finished.err.find(" level=error message=\"configuration refused\" source=discovery "),
            std::string::npos)
      << finished.err;
}

}  // namespace
}  // namespace sallyport::test
