"""A PagerDuty and a Port that run on loopback: for the demo, the tests and `pdsync sandbox`.

Real HTTP servers with the rules of the real services, as far as these are published; what is not published is a
switch of `pdsync.sandbox.port_rules.Behaviour`.  Nothing here is imported by the rest of the package but the
`demo`, `sandbox` and `selftest` commands.

    world, pagerduty      a believable company and PagerDuty's REST API over it
    port_*, port          Port's API over an in-memory store
    http                  request log and programmable faults
    server                `Sandbox`: both of them on free ports
"""
