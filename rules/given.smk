# Included last. Every job has as a parameter a digest of its modules and of the user's files, since Snakemake itself
# looks at dates alone, and an archive or `cp -p` gives a changed file an older one.
import threading
import time

from workflow_scripts.workflow.failures import scrolled_away
from workflow_scripts.workflow.given import check_dates, digest

GIVEN = set()


def given_to(one):
    """The digest of a rule's inputs that no job makes, as a parameter of that rule."""
    items = [item for item in one.input if callable(item) or is_given(item)]

    def digest_of(wildcards):
        found = []
        for item in items:
            paths = item(wildcards) if callable(item) else item
            found += [paths] if isinstance(paths, str) else paths
        paths = tuple(str(path) for path in found if is_given(path))
        GIVEN.update(paths)
        return digest(paths)

    return digest_of


def is_given(path):
    return not str(path).startswith("results/")


for one in workflow.rules:
    if one.shellcmd:
        one.set_params(given=given_to(one))


def look_every(seconds):
    """Let Snakemake look for ready jobs every so many seconds, beside whenever a job ends.

    By its limit of 100 jobs a second Snakemake 9.27 looks every second, once for each job that has ended, and late in a
    study does little else. It must look now and then all the same: a Ctrl-C that reaches another of its threads is seen
    when the main one wakes.
    """
    scheduler = workflow.scheduler
    scheduler.job_rate_limiter = None

    def wake():
        while True:
            time.sleep(seconds)
            scheduler._open_jobs.release()

    threading.Thread(target=wake, daemon=True).start()


onstart:
    try:
        check_dates(sorted(GIVEN))
    except InputError as error:
        raise WorkflowError(str(error)) from None
    look_every(2.0)


onerror:
    for file in log:
        for sentence in scrolled_away(Path(file)):
            print(sentence, file=sys.stderr)
