"""Every operation of the OpenAPI document under generated requests, good and bad."""
