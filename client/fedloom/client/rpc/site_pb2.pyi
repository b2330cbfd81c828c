from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class HelloRequest(_message.Message):
    __slots__ = ("header", "signature", "stamp")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    STAMP_FIELD_NUMBER: _ClassVar[int]
    header: str
    signature: str
    stamp: str
    def __init__(self, header: _Optional[str] = ..., signature: _Optional[str] = ..., stamp: _Optional[str] = ...) -> None: ...

class Task(_message.Message):
    __slots__ = ("header", "payload", "remembered_head", "signature", "stamp")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    REMEMBERED_HEAD_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    STAMP_FIELD_NUMBER: _ClassVar[int]
    header: str
    payload: bytes
    remembered_head: str
    signature: str
    stamp: str
    def __init__(self, header: _Optional[str] = ..., payload: _Optional[bytes] = ..., remembered_head: _Optional[str] = ..., signature: _Optional[str] = ..., stamp: _Optional[str] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("header", "payload", "head", "signature")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    header: str
    payload: bytes
    head: str
    signature: str
    def __init__(self, header: _Optional[str] = ..., payload: _Optional[bytes] = ..., head: _Optional[str] = ..., signature: _Optional[str] = ...) -> None: ...

class TrainEvent(_message.Message):
    __slots__ = ("stage", "answer")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    stage: str
    answer: Answer
    def __init__(self, stage: _Optional[str] = ..., answer: _Optional[_Union[Answer, _Mapping]] = ...) -> None: ...
