from sync.vendors.ona import usage_pb2 as _usage_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Principal(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRINCIPAL_UNSPECIFIED: _ClassVar[Principal]
    PRINCIPAL_ACCOUNT: _ClassVar[Principal]
    PRINCIPAL_USER: _ClassVar[Principal]
    PRINCIPAL_SERVICE_ACCOUNT: _ClassVar[Principal]
PRINCIPAL_UNSPECIFIED: Principal
PRINCIPAL_ACCOUNT: Principal
PRINCIPAL_USER: Principal
PRINCIPAL_SERVICE_ACCOUNT: Principal

class Subject(_message.Message):
    __slots__ = ("id", "principal")
    ID_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    id: str
    principal: Principal
    def __init__(self, id: _Optional[str] = ..., principal: _Optional[_Union[Principal, str]] = ...) -> None: ...

class GetAuthenticatedIdentityRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetAuthenticatedIdentityResponse(_message.Message):
    __slots__ = ("subject", "organization_id")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    subject: Subject
    organization_id: str
    def __init__(self, subject: _Optional[_Union[Subject, _Mapping]] = ..., organization_id: _Optional[str] = ...) -> None: ...

class OrganizationMember(_message.Message):
    __slots__ = ("user_id", "full_name", "email")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    FULL_NAME_FIELD_NUMBER: _ClassVar[int]
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    full_name: str
    email: str
    def __init__(self, user_id: _Optional[str] = ..., full_name: _Optional[str] = ..., email: _Optional[str] = ...) -> None: ...

class ListMembersRequest(_message.Message):
    __slots__ = ("pagination", "organization_id")
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    pagination: _usage_pb2.PaginationRequest
    organization_id: str
    def __init__(self, pagination: _Optional[_Union[_usage_pb2.PaginationRequest, _Mapping]] = ..., organization_id: _Optional[str] = ...) -> None: ...

class ListMembersResponse(_message.Message):
    __slots__ = ("pagination", "members")
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    pagination: _usage_pb2.PaginationResponse
    members: _containers.RepeatedCompositeFieldContainer[OrganizationMember]
    def __init__(self, pagination: _Optional[_Union[_usage_pb2.PaginationResponse, _Mapping]] = ..., members: _Optional[_Iterable[_Union[OrganizationMember, _Mapping]]] = ...) -> None: ...

class ProjectMetadata(_message.Message):
    __slots__ = ("organization_id", "name")
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    name: str
    def __init__(self, organization_id: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class Project(_message.Message):
    __slots__ = ("id", "metadata")
    ID_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    id: str
    metadata: ProjectMetadata
    def __init__(self, id: _Optional[str] = ..., metadata: _Optional[_Union[ProjectMetadata, _Mapping]] = ...) -> None: ...

class ListProjectsRequest(_message.Message):
    __slots__ = ("pagination",)
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    pagination: _usage_pb2.PaginationRequest
    def __init__(self, pagination: _Optional[_Union[_usage_pb2.PaginationRequest, _Mapping]] = ...) -> None: ...

class ListProjectsResponse(_message.Message):
    __slots__ = ("pagination", "projects")
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    PROJECTS_FIELD_NUMBER: _ClassVar[int]
    pagination: _usage_pb2.PaginationResponse
    projects: _containers.RepeatedCompositeFieldContainer[Project]
    def __init__(self, pagination: _Optional[_Union[_usage_pb2.PaginationResponse, _Mapping]] = ..., projects: _Optional[_Iterable[_Union[Project, _Mapping]]] = ...) -> None: ...

class EnvironmentClass(_message.Message):
    __slots__ = ("id", "display_name", "description", "runner_id", "enabled")
    ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    RUNNER_ID_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    id: str
    display_name: str
    description: str
    runner_id: str
    enabled: bool
    def __init__(self, id: _Optional[str] = ..., display_name: _Optional[str] = ..., description: _Optional[str] = ..., runner_id: _Optional[str] = ..., enabled: _Optional[bool] = ...) -> None: ...

class ListEnvironmentClassesRequest(_message.Message):
    __slots__ = ("pagination",)
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    pagination: _usage_pb2.PaginationRequest
    def __init__(self, pagination: _Optional[_Union[_usage_pb2.PaginationRequest, _Mapping]] = ...) -> None: ...

class ListEnvironmentClassesResponse(_message.Message):
    __slots__ = ("pagination", "environment_classes")
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_CLASSES_FIELD_NUMBER: _ClassVar[int]
    pagination: _usage_pb2.PaginationResponse
    environment_classes: _containers.RepeatedCompositeFieldContainer[EnvironmentClass]
    def __init__(self, pagination: _Optional[_Union[_usage_pb2.PaginationResponse, _Mapping]] = ..., environment_classes: _Optional[_Iterable[_Union[EnvironmentClass, _Mapping]]] = ...) -> None: ...

class Runner(_message.Message):
    __slots__ = ("runner_id", "name")
    RUNNER_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    runner_id: str
    name: str
    def __init__(self, runner_id: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class ListRunnersRequest(_message.Message):
    __slots__ = ("pagination",)
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    pagination: _usage_pb2.PaginationRequest
    def __init__(self, pagination: _Optional[_Union[_usage_pb2.PaginationRequest, _Mapping]] = ...) -> None: ...

class ListRunnersResponse(_message.Message):
    __slots__ = ("pagination", "runners")
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    RUNNERS_FIELD_NUMBER: _ClassVar[int]
    pagination: _usage_pb2.PaginationResponse
    runners: _containers.RepeatedCompositeFieldContainer[Runner]
    def __init__(self, pagination: _Optional[_Union[_usage_pb2.PaginationResponse, _Mapping]] = ..., runners: _Optional[_Iterable[_Union[Runner, _Mapping]]] = ...) -> None: ...

class Group(_message.Message):
    __slots__ = ("id", "organization_id", "name", "system_managed", "member_count")
    ID_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_MANAGED_FIELD_NUMBER: _ClassVar[int]
    MEMBER_COUNT_FIELD_NUMBER: _ClassVar[int]
    id: str
    organization_id: str
    name: str
    system_managed: bool
    member_count: int
    def __init__(self, id: _Optional[str] = ..., organization_id: _Optional[str] = ..., name: _Optional[str] = ..., system_managed: _Optional[bool] = ..., member_count: _Optional[int] = ...) -> None: ...

class ListGroupsRequest(_message.Message):
    __slots__ = ("pagination",)
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    pagination: _usage_pb2.PaginationRequest
    def __init__(self, pagination: _Optional[_Union[_usage_pb2.PaginationRequest, _Mapping]] = ...) -> None: ...

class ListGroupsResponse(_message.Message):
    __slots__ = ("pagination", "groups")
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    pagination: _usage_pb2.PaginationResponse
    groups: _containers.RepeatedCompositeFieldContainer[Group]
    def __init__(self, pagination: _Optional[_Union[_usage_pb2.PaginationResponse, _Mapping]] = ..., groups: _Optional[_Iterable[_Union[Group, _Mapping]]] = ...) -> None: ...

class GroupMembership(_message.Message):
    __slots__ = ("id", "subject", "group_id", "name")
    ID_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    id: str
    subject: Subject
    group_id: str
    name: str
    def __init__(self, id: _Optional[str] = ..., subject: _Optional[_Union[Subject, _Mapping]] = ..., group_id: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class ListMembershipsRequest(_message.Message):
    __slots__ = ("pagination", "group_id")
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    pagination: _usage_pb2.PaginationRequest
    group_id: str
    def __init__(self, pagination: _Optional[_Union[_usage_pb2.PaginationRequest, _Mapping]] = ..., group_id: _Optional[str] = ...) -> None: ...

class ListMembershipsResponse(_message.Message):
    __slots__ = ("pagination", "members")
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    pagination: _usage_pb2.PaginationResponse
    members: _containers.RepeatedCompositeFieldContainer[GroupMembership]
    def __init__(self, pagination: _Optional[_Union[_usage_pb2.PaginationResponse, _Mapping]] = ..., members: _Optional[_Iterable[_Union[GroupMembership, _Mapping]]] = ...) -> None: ...

class Team(_message.Message):
    __slots__ = ("id", "organization_id", "name", "member_count")
    ID_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    MEMBER_COUNT_FIELD_NUMBER: _ClassVar[int]
    id: str
    organization_id: str
    name: str
    member_count: int
    def __init__(self, id: _Optional[str] = ..., organization_id: _Optional[str] = ..., name: _Optional[str] = ..., member_count: _Optional[int] = ...) -> None: ...

class ListTeamsRequest(_message.Message):
    __slots__ = ("pagination",)
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    pagination: _usage_pb2.PaginationRequest
    def __init__(self, pagination: _Optional[_Union[_usage_pb2.PaginationRequest, _Mapping]] = ...) -> None: ...

class ListTeamsResponse(_message.Message):
    __slots__ = ("pagination", "teams")
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    TEAMS_FIELD_NUMBER: _ClassVar[int]
    pagination: _usage_pb2.PaginationResponse
    teams: _containers.RepeatedCompositeFieldContainer[Team]
    def __init__(self, pagination: _Optional[_Union[_usage_pb2.PaginationResponse, _Mapping]] = ..., teams: _Optional[_Iterable[_Union[Team, _Mapping]]] = ...) -> None: ...

class TeamMember(_message.Message):
    __slots__ = ("id", "team_id", "user_id", "name")
    ID_FIELD_NUMBER: _ClassVar[int]
    TEAM_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    id: str
    team_id: str
    user_id: str
    name: str
    def __init__(self, id: _Optional[str] = ..., team_id: _Optional[str] = ..., user_id: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class ListTeamMembersRequest(_message.Message):
    __slots__ = ("pagination", "team_id")
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    TEAM_ID_FIELD_NUMBER: _ClassVar[int]
    pagination: _usage_pb2.PaginationRequest
    team_id: str
    def __init__(self, pagination: _Optional[_Union[_usage_pb2.PaginationRequest, _Mapping]] = ..., team_id: _Optional[str] = ...) -> None: ...

class ListTeamMembersResponse(_message.Message):
    __slots__ = ("pagination", "members")
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    pagination: _usage_pb2.PaginationResponse
    members: _containers.RepeatedCompositeFieldContainer[TeamMember]
    def __init__(self, pagination: _Optional[_Union[_usage_pb2.PaginationResponse, _Mapping]] = ..., members: _Optional[_Iterable[_Union[TeamMember, _Mapping]]] = ...) -> None: ...
