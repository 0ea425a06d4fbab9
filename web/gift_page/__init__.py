"""The page that people land on from a gift's link: no scripts, nothing from elsewhere."""

from web.gift_page.page import Outcome, page_response

__all__ = ["Outcome", "page_response"]
