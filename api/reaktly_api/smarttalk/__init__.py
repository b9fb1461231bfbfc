"""The AI SmartTalk dialect (seed 004), and what we add in the same idiom."""

from reaktly_api.smarttalk import documents, search

OPERATIONS = (*documents.OPERATIONS, *search.OPERATIONS)
