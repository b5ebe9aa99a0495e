// write_metric_documents ROOT: docs/metrics.md and deploy/grafana/sallyport.json in a checkout. To
// be run after a change of metrics/; their tests fail until then.
#include <cstdio>
#include <string>

#include "metrics/metric_documents.h"
#include "metrics/write_document.h"

int main(int argc, char** argv) {
  using namespace sallyport::metrics;
  if (argc != 2) {
    std::fputs("usage: write_metric_documents ROOT\n", stderr);
    return 2;
  }
  const std::string root = std::string(argv[1]) + "/";
  const bool written = write_document(root + "docs/metrics.md", metric_reference()) &&
                       write_document(root + "deploy/grafana/sallyport.json", metric_dashboard());
  return written ? 0 : 1;
}
