"""Uses the client that openapi-python-client makes: submits a job, waits for it, lists it, and is told why something is refused."""

import sys

from backroom_client import AuthenticatedClient
from backroom_client.api.jobs import jobs_list, jobs_show, jobs_submit
from backroom_client.api.schedules import schedules_list
from backroom_client.models import JobView, Problem, SubmitBody

client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2], raise_on_unexpected_status=True)

job = jobs_submit.sync(client=client, body=SubmitBody(plugin="echo", input_={"from": "python"}), wait="10s")
assert isinstance(job, JobView) and job.state == "succeeded", job
shown = jobs_show.sync(str(job.id), client=client)
assert isinstance(shown, JobView) and shown.id == job.id, shown
page = jobs_list.sync(client=client, state="succeeded", limit=200)
assert any(listed.id == job.id for listed in page.jobs), page
schedules = schedules_list.sync(client=client)
assert [schedule.name for schedule in schedules.schedules] == ["nightly"], schedules
refused = jobs_submit.sync(client=client, body=SubmitBody(plugin="no-such-plugin"))
assert isinstance(refused, Problem) and refused.code == "BR0103", refused
