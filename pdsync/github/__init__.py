"""pdsync on GitHub: what `action.yml` runs.

    settings, events      what was asked for and by which event (pure)
    record, body, log     the comment's marker and text, the log's commands (pure)
    env_files, api        the runner's files, GitHub's REST API (edges)
    sticky, pulls         the one comment of a pull request, the pull request of a push
    action                `run` and `report`, the two steps

Nothing here reads the process environment: `run_action` and `report_action` are given it.
"""
