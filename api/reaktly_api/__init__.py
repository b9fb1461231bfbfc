"""The HTTP door: documented dialects on one knowledge base."""

from reaktly_api.app import create_app
from reaktly_api.settings import ApiSettings

__all__ = ["ApiSettings", "create_app"]
