#!/usr/bin/env bash
# Hands over to `pdsync action <run|report>`.  It replaces itself, so that a cancelled job reaches Python as a signal.
# Works with bash 3.2, which is what macOS has.
set -euo pipefail

# What an earlier step of the caller set for its own Python must neither load code into ours nor be changed by it.
unset PYTHONPATH PYTHONHOME PYTHONSTARTUP VIRTUAL_ENV
unset UV_PROJECT_ENVIRONMENT UV_PROJECT UV_WORKING_DIRECTORY UV_ENV_FILE UV_LOCKED UV_NO_SYNC UV_CONFIG_FILE

if [ "${PDSYNC_ACTION_SETUP:-auto}" = none ]; then
  exec pdsync action "$@"
fi

# Everything comes from the lock file beside the action; nothing in the checkout is asked.
if [ -n "${PDSYNC_ACTION_PYTHON_VERSION:-}" ]; then
  export UV_PYTHON="$PDSYNC_ACTION_PYTHON_VERSION"
fi
exec uv run --quiet --project "$GITHUB_ACTION_PATH" --frozen --no-dev --no-editable --no-config \
  pdsync action "$@"
