"""Following items on their way: `/ingest/jobs`."""

from collections.abc import Mapping

from llamaindex_reaktly.domain import DocumentState, DocumentStatus
from llamaindex_reaktly.errors import Conflict, NotFound
from reaktly_api.access import IMPORT, READ
from reaktly_api.operations import Call, Link, Operation
from reaktly_api.reaktly.answers import Job, Jobs, integration_id, job
from reaktly_api.reaktly.ingest import require_knowledge_base
from reaktly_api.reaktly.requests import JobQuery, JobsQuery

TAG = "Jobs"


def get_job(call: Call) -> Mapping[str, object]:
    """`GET /ingest/jobs/{jobId}`."""
    return job(_find(call))


def retry_job(call: Call) -> Mapping[str, object]:
    """`POST /ingest/jobs/{jobId}/retry`."""
    return job(call.knowledge_base.retry(_find(call).document_id))


def list_jobs(call: Call) -> Mapping[str, object]:
    """`GET /ingest/jobs`."""
    query = call.query(JobsQuery)
    if query.knowledge_base_id is not None:
        call.caller.require_reach(query.knowledge_base_id)
        require_knowledge_base(call, query.knowledge_base_id)
    page = call.knowledge_base.list_documents(
        query.knowledge_base_id,
        knowledge_base_ids=call.caller.reach,
        state=query.status,
        include_deleted=query.status is DocumentState.DELETED,
        cursor=query.cursor,
        limit=query.limit,
    )
    return Jobs(jobs=[job(status) for status in page.items], nextCursor=page.next_cursor)


def _find(call: Call) -> DocumentStatus:
    """The one document that a job id means to this caller.

    `a-b` + `c` and `a` + `b-c` share the job id `a-b-c` (seed 000 joins with a dash),
    and so do equal ids in two knowledge bases: several matches are a `Conflict`.
    """
    job_id = call.path_parameters["jobId"]
    query = call.query(JobQuery)
    bases = call.caller.reach
    if query.knowledge_base_id is not None:
        call.caller.require_reach(query.knowledge_base_id)
        bases = (query.knowledge_base_id,)
    matches = [
        status
        for status in call.knowledge_base.find_jobs(job_id, bases)
        if query.integration_id in (None, integration_id(status.key.source))
    ]
    # A tombstone answers only when nothing that lives has the name.
    living = [status for status in matches if status.state is not DocumentState.DELETED]
    candidates = living or matches
    if not candidates:
        raise NotFound("there is no such job")
    if len(candidates) > 1:
        raise Conflict(
            f"{len(candidates)} documents share this job id; "
            "narrow it with ?knowledgeBaseId= or ?integrationId=",
            candidates=tuple(
                f"knowledgeBaseId={s.key.knowledge_base_id} "
                f"integrationId={integration_id(s.key.source)} externalId={s.key.external_id}"
                for s in candidates
            ),
        )
    return candidates[0]


_EITHER = frozenset({IMPORT, READ})

OPERATIONS = (
    Operation(
        method="GET",
        path="/ingest/jobs",
        name="listJobs",
        tag=TAG,
        summary="List jobs",
        description="Every document within reach, deleted ones only with `status=deleted`.",
        run=list_jobs,
        answer=Jobs,
        scopes=_EITHER,
        query=JobsQuery,
        errors=(404,),
        links=(
            Link("getJob", "jobId", "/jobs/0/jobId"),
            Link("retryJob", "jobId", "/jobs/0/jobId"),
        ),
    ),
    Operation(
        method="POST",
        path="/ingest/jobs/{jobId:path}/retry",
        name="retryJob",
        tag=TAG,
        summary="Try a failed document again",
        description="The document goes back into the queue as it was accepted.",
        run=retry_job,
        answer=Job,
        scopes=frozenset({IMPORT}),
        query=JobQuery,
        errors=(409,),
    ),
    Operation(
        method="GET",
        path="/ingest/jobs/{jobId:path}",
        name="getJob",
        tag=TAG,
        summary="Look a job up",
        description="The job id may hold `/` and any other character; percent-encode it. When "
        "several documents share it the answer is 409, and the query parameters narrow it.",
        run=get_job,
        answer=Job,
        scopes=_EITHER,
        query=JobQuery,
        errors=(409,),
    ),
)
