"""The registry as one thing to open and close."""

from llamaindex_reaktly.registry.acceptance import Acceptance
from llamaindex_reaktly.registry.census import CensusTaker
from llamaindex_reaktly.registry.database import Database
from llamaindex_reaktly.registry.documents import Documents
from llamaindex_reaktly.registry.indexes import Indexes
from llamaindex_reaktly.registry.ingestion_queue import IngestionQueue
from llamaindex_reaktly.registry.keys import Keys
from llamaindex_reaktly.registry.knowledge_bases import KnowledgeBases
from llamaindex_reaktly.registry.properties import Properties
from llamaindex_reaktly.registry.standing import Standing
from llamaindex_reaktly.registry.usage import UNLIMITED, Quota, UsageOfBases
from llamaindex_reaktly.registry.visibility import Visibility
from llamaindex_reaktly.registry.workers import Workers


class Registry:
    """What should be in each knowledge base, and what is; who may do what.

    `url` is an SQLAlchemy URL. Opening migrates the database to the newest schema. `quota` is
    what each knowledge base may hold.
    """

    def __init__(self, url: str, quota: Quota = UNLIMITED) -> None:
        self.database = Database(url)
        self.knowledge_bases = KnowledgeBases(self.database)
        self.acceptance = Acceptance(self.database, quota)
        self.documents = Documents(self.database)
        self.queue = IngestionQueue(self.database)
        self.visibility = Visibility(self.database)
        self.indexes = Indexes(self.database)
        self.keys = Keys(self.database)
        self.properties = Properties(self.database)
        self.workers = Workers(self.database)
        self.standing = Standing(self.database)
        self.usage = UsageOfBases(self.database)
        self.census = CensusTaker(self.database)

    def close(self) -> None:
        """Finish what is being written and release the connections. Idempotent."""
        self.database.close()
