"""A feeder: follows a source of endpoints and keeps Sallyport's discovery file true to it.

  main, options       the command line
  run                 the loop that owns the file; the only thread that decides or writes
  follow              a thread for each thing that is followed, and what it may report
  etcd, srv, consul,
  kubernetes          the sources
  client, checked     HTTP with bounds; JSON of which every type is checked
  endpoint, routes    what an endpoint is; which update of a route is taken
  discovery_file      the file: its text, its lock, how it is replaced
  log, status         what people and probes are told
"""
