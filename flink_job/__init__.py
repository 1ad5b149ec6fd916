"""The job: settings, graph, sources, sinks, command line, replay and reports."""
