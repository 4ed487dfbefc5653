"""For tests of this library and of those that embed it: invariants, liveness, and the drivers' conformance suite."""
