"""The outside world to run beside the service where none is configured, and in tests.

`simulators.auth` is a mana-auth, `simulators.notify` a mana-notify, `simulators.stripe` a Stripe.
None of them imports the service, and the service imports none of them.
"""
