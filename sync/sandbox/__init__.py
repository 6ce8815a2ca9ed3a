"""Stand-ins for the vendors over real HTTP: the upstream of the demo, the tests and the benchmarks."""
