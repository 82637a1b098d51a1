"""pdsync: plan and apply for a Port catalog that is fed by PagerDuty."""

__version__ = "0.1.0"
