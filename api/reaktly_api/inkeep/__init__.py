"""Inkeep's dialect: a knowledge base as models behind OpenAI's two chat endpoints."""

from reaktly_api.inkeep import completions, models, responses

OPERATIONS = (*completions.OPERATIONS, *responses.OPERATIONS, *models.OPERATIONS)
