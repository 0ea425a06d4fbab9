"""Cloud Sync: subscriptions that bill themselves, pause for want of credits, and resume."""
