"""Uses the client that openapi-generator makes: submits a job, waits for it, lists it, and is told why something is refused."""

import json
import sys

import backroom_generated as generated

settings = generated.Configuration(host=sys.argv[1], access_token=sys.argv[2])
with generated.ApiClient(settings) as connection:
    jobs = generated.JobsApi(connection)
    job = jobs.jobs_submit(generated.SubmitBody(plugin="echo", input={"from": "a generated client"}), wait="10s")
    assert job.state == "succeeded", job
    assert jobs.jobs_show(str(job.id)).id == job.id
    assert any(listed.id == job.id for listed in jobs.jobs_list(state="succeeded", limit=200).jobs)
    schedules = generated.SchedulesApi(connection).schedules_list()
    assert [schedule.name for schedule in schedules.schedules] == ["nightly"], schedules
    try:
        jobs.jobs_submit(generated.SubmitBody(plugin="no-such-plugin"))
        raise AssertionError("it is taken")
    except generated.exceptions.NotFoundException as refused:
        assert json.loads(refused.body)["code"] == "BR0103", refused.body
