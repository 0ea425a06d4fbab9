"""The processes that do the jobs: Dramatiq workers, and in each of them a relay."""
