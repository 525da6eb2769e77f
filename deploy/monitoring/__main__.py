"""Write docs/metrics.md, the alert rules and the dashboard."""

from deploy.monitoring import write_all

write_all()
