"""One tree of exceptions. Every leaf knows its HTTP status and its OpenAI error type and code."""

from __future__ import annotations


class InglenookError(Exception):
    """Base of everything that this package raises on purpose.

    `message` says what was wrong, what is allowed and what to do; it never holds a path of the
    server's machine, a memory address or a whole echoed input.
    """

    status: int = 500
    type: str = "internal_error"
    code: str | None = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code


# --- the request is wrong -------------------------------------------------------------------------


class InvalidRequestError(InglenookError):
    """The request can't be served as it is; `param` names the field."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_value"


class UnsupportedParameterError(InvalidRequestError):
    """A parameter that this server knows of and doesn't honour."""

    code = "unsupported_parameter"


class UnsupportedTaskError(InvalidRequestError):
    """The model doesn't do what was asked of it: an embedding model has no chat, a chat model no vectors."""

    code = "unsupported_task"


class ContextLengthError(InvalidRequestError):
    """The prompt is longer than the context window."""

    code = "context_length_exceeded"


class AuthenticationError(InglenookError):
    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class NotFoundError(InglenookError):
    """No such route, or no such thing at this route."""

    status = 404
    type = "invalid_request_error"
    code = "not_found"


class ModelNotFoundError(NotFoundError):
    code = "model_not_found"


class MethodNotAllowedError(InglenookError):
    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


class PayloadTooLargeError(InglenookError):
    status = 413
    type = "invalid_request_error"
    code = "payload_too_large"


class OverloadedError(InglenookError):
    """The queue is full; the client may try again later."""

    status = 429
    type = "rate_limit_error"
    code = "overloaded"


class NotServedError(InglenookError):
    """A route of another server's that this one knows of and has no model for: images, speech, moderation."""

    status = 501
    type = "invalid_request_error"
    code = "not_implemented"


class UnavailableError(InglenookError):
    """The server is starting, stopping, or its engine has failed."""

    status = 503
    type = "service_unavailable_error"
    code = "unavailable"


class StorageError(InglenookError):
    """A file that this request needs can't be read or written."""

    code = "storage_error"


class EngineError(InglenookError):
    """The engine failed while it worked on this request."""

    code = "engine_error"


# --- the server can't start, a model can't be had --------------------------------------------------


class ConfigError(InglenookError):
    """A flag, environment variable or settings file holds something unusable."""

    code = "config_error"


class ModelSourceError(InglenookError):
    """A model could not be found or fetched; the message says what was tried and what to do."""

    code = "model_source_error"


class CheckpointError(InglenookError):
    """A weight or tokenizer file is broken, or holds what this version can't read."""

    code = "checkpoint_error"


class UnsupportedModelError(CheckpointError):
    """The files are sound, but the architecture or one of its options isn't implemented."""

    code = "unsupported_model"


class OutOfMemoryError(InglenookError):
    """The plan doesn't fit into the memory that the process may use; the message says what would."""

    code = "out_of_memory"
