# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define

from .. import _codec
from ..types import UNSET, Unset


@_attrs_define
class Subject:
    """Who spends: at least one level, widest first. Every budget along the levels given is charged; an absent
    level is skipped. Values are 1 to 128 letters, digits, `_`, `.` and `-`.

    Attributes:
        tenant: Widest level; must be the tenant of the key, in the same letter case.
        workspace: Level below the tenant.
        app: Level below the workspace.
        workflow: Level below the app.
        agent: Level below the workflow.
        toolset: Narrowest level.
        dimensions: Labels for reports; no budget depends on them.
    """

    tenant: str | Unset = UNSET
    workspace: str | Unset = UNSET
    app: str | Unset = UNSET
    workflow: str | Unset = UNSET
    agent: str | Unset = UNSET
    toolset: str | Unset = UNSET
    dimensions: Dimensions | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {}
        if (tenant := self.tenant) is not None and not isinstance(tenant, Unset):
            _fields["tenant"] = tenant
        if (workspace := self.workspace) is not None and not isinstance(workspace, Unset):
            _fields["workspace"] = workspace
        if (app := self.app) is not None and not isinstance(app, Unset):
            _fields["app"] = app
        if (workflow := self.workflow) is not None and not isinstance(workflow, Unset):
            _fields["workflow"] = workflow
        if (agent := self.agent) is not None and not isinstance(agent, Unset):
            _fields["agent"] = agent
        if (toolset := self.toolset) is not None and not isinstance(toolset, Unset):
            _fields["toolset"] = toolset
        if (dimensions := self.dimensions) is not None and not isinstance(dimensions, Unset):
            _fields["dimensions"] = dict(dimensions)
        return _fields

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Return the model in *src_dict*, a decoded JSON object.

        Fields that are not described here are ignored.

        Raises:
            DecodeError: when it does not fit.
        """
        _d = _codec.mapping("Subject", src_dict)
        try:
            return cls(
                tenant=UNSET if (_v := _d.get("tenant")) is None else _codec.text("Subject.tenant", _v),
                workspace=UNSET if (_v := _d.get("workspace")) is None else _codec.text("Subject.workspace", _v),
                app=UNSET if (_v := _d.get("app")) is None else _codec.text("Subject.app", _v),
                workflow=UNSET if (_v := _d.get("workflow")) is None else _codec.text("Subject.workflow", _v),
                agent=UNSET if (_v := _d.get("agent")) is None else _codec.text("Subject.agent", _v),
                toolset=UNSET if (_v := _d.get("toolset")) is None else _codec.text("Subject.toolset", _v),
                dimensions=UNSET
                if (_v := _d.get("dimensions")) is None
                else _codec.free_texts("Subject.dimensions", _v),
            )
        except KeyError as error:
            raise _codec.missing("Subject", error) from None


# At the end, where a cycle of models would do no harm.
from ..models.dimensions import Dimensions
