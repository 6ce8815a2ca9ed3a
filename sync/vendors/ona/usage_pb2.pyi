import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DateRange(_message.Message):
    __slots__ = ("start_time", "end_time")
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class EnvironmentUsageRecord(_message.Message):
    __slots__ = ("id", "environment_id", "user_id", "project_id", "runner_id", "environment_class_id", "created_at", "stopped_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    RUNNER_ID_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_CLASS_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    STOPPED_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    environment_id: str
    user_id: str
    project_id: str
    runner_id: str
    environment_class_id: str
    created_at: _timestamp_pb2.Timestamp
    stopped_at: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., environment_id: _Optional[str] = ..., user_id: _Optional[str] = ..., project_id: _Optional[str] = ..., runner_id: _Optional[str] = ..., environment_class_id: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., stopped_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PaginationRequest(_message.Message):
    __slots__ = ("page_size", "token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    token: str
    def __init__(self, page_size: _Optional[int] = ..., token: _Optional[str] = ...) -> None: ...

class PaginationResponse(_message.Message):
    __slots__ = ("next_token",)
    NEXT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    next_token: str
    def __init__(self, next_token: _Optional[str] = ...) -> None: ...

class ListEnvironmentUsageRecordsRequest(_message.Message):
    __slots__ = ("pagination", "filter")
    class Filter(_message.Message):
        __slots__ = ("project_id", "date_range")
        PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
        DATE_RANGE_FIELD_NUMBER: _ClassVar[int]
        project_id: str
        date_range: DateRange
        def __init__(self, project_id: _Optional[str] = ..., date_range: _Optional[_Union[DateRange, _Mapping]] = ...) -> None: ...
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    pagination: PaginationRequest
    filter: ListEnvironmentUsageRecordsRequest.Filter
    def __init__(self, pagination: _Optional[_Union[PaginationRequest, _Mapping]] = ..., filter: _Optional[_Union[ListEnvironmentUsageRecordsRequest.Filter, _Mapping]] = ...) -> None: ...

class ListEnvironmentUsageRecordsResponse(_message.Message):
    __slots__ = ("pagination", "records")
    PAGINATION_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    pagination: PaginationResponse
    records: _containers.RepeatedCompositeFieldContainer[EnvironmentUsageRecord]
    def __init__(self, pagination: _Optional[_Union[PaginationResponse, _Mapping]] = ..., records: _Optional[_Iterable[_Union[EnvironmentUsageRecord, _Mapping]]] = ...) -> None: ...

class GetEnvironmentRuntimeRequest(_message.Message):
    __slots__ = ("date_range", "project_id", "team_id")
    DATE_RANGE_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    TEAM_ID_FIELD_NUMBER: _ClassVar[int]
    date_range: DateRange
    project_id: str
    team_id: str
    def __init__(self, date_range: _Optional[_Union[DateRange, _Mapping]] = ..., project_id: _Optional[str] = ..., team_id: _Optional[str] = ...) -> None: ...

class GetEnvironmentRuntimeResponse(_message.Message):
    __slots__ = ("total_runtime_seconds", "trend")
    TOTAL_RUNTIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    TREND_FIELD_NUMBER: _ClassVar[int]
    total_runtime_seconds: int
    trend: float
    def __init__(self, total_runtime_seconds: _Optional[int] = ..., trend: _Optional[float] = ...) -> None: ...
