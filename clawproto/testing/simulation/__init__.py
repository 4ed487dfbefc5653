"""Whole populations of sessions under virtual time, with faults from a seed.

Two engines answer the same questions:

- `clawproto.testing.simulation.exact` runs the real core against the real hub, frame by frame, and checks every
  invariant in every step. Thousands of sessions.
- `clawproto.testing.simulation.population` knows when a session acts and nothing else, as arrays (it needs numpy).
  Millions of sessions. A test holds it to the exact engine, event for event.

A session depends on nothing but the seed, the plan and its own number, so any one of them can be run again alone.
"""
