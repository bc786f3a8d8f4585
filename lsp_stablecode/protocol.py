"""pygls' protocol, made to answer every id and to leave documents to us.

What differs from pygls 2.1:

- a request that cannot be parsed, comes before ``initialize`` or after ``shutdown``
  is answered with the error LSP names for it, instead of not at all;
- documents are not kept twice, and not split at line ends that LSP does not have;
- an inline completion's trigger kind may be any integer (clients send VS Code's own),
  and it may say how the editor indents, as Copilot's clients do;
- parameters of methods that LSP does not have stay the plain data that came;
- what is unknown here is refused, or dropped, without a word to anybody's log;
- nothing it logs or shows holds source text;
- the exit code after ``exit`` is kept, where pygls drops it.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import Any

import attrs
from cattrs import Converter
from lsprotocol import types
from pygls.exceptions import JsonRpcException, PyglsError
from pygls.protocol import (
    JsonRPCNotification,
    JsonRPCRequestMessage,
    LanguageServerProtocol,
    default_converter,
    lsp_method,
)

from lsp_stablecode import copilot

logger = logging.getLogger(__name__)

_DOCUMENT_METHODS = (
    types.TEXT_DOCUMENT_DID_OPEN,
    types.TEXT_DOCUMENT_DID_CHANGE,
    types.TEXT_DOCUMENT_DID_CLOSE,
    types.NOTEBOOK_DOCUMENT_DID_OPEN,
    types.NOTEBOOK_DOCUMENT_DID_CHANGE,
    types.NOTEBOOK_DOCUMENT_DID_CLOSE,
)


@attrs.define
class InlineCompletionParams(types.InlineCompletionParams):
    """LSP's, with what Copilot's clients add; nobody has checked what it holds."""

    formatting_options: Any = None


@attrs.define(kw_only=True)
class InlineCompletionRequest(types.InlineCompletionRequest):
    """LSP's, with those parameters."""

    params: InlineCompletionParams


def make_converter() -> Converter:
    """Return pygls' converter, lenient about inline completion's trigger kind.

    LSP 3.18 has 1 (invoked) and 2 (automatic). Some clients send VS Code's own 0
    (invoked) and 1 (automatic), which shows when the first 0 comes.

    pygls would make objects of parameters whose type it does not know.
    """
    converter: Converter = default_converter()  # type: ignore[no-untyped-call]
    invoked = {0, 1}

    def trigger_kind(value: object, _: object) -> types.InlineCompletionTriggerKind:
        if value == 0:
            invoked.discard(1)
        if value in invoked:
            return types.InlineCompletionTriggerKind.Invoked
        return types.InlineCompletionTriggerKind.Automatic

    converter.register_structure_hook(types.InlineCompletionTriggerKind, trigger_kind)
    for message in (JsonRPCRequestMessage, JsonRPCNotification):
        converter.register_structure_hook(message, lambda data, kind: kind(**data))
    return converter


class StablecodeProtocol(LanguageServerProtocol):
    """See the module's docstring."""

    def __init__(self, server: Any, converter: Converter) -> None:
        super().__init__(server, converter)
        self.exit_code = 0
        self._initialized = False
        # Without pygls' own handlers ours are called directly.
        for method in _DOCUMENT_METHODS:
            self.fm.builtin_features.pop(method, None)

    # pygls' own two are cached with their protocol, and so each session for ever.
    def get_message_type(  # type: ignore[override]
        self, method: str
    ) -> type[Any] | None:
        """Return the type that a method's messages are parsed to."""
        if method == types.TEXT_DOCUMENT_INLINE_COMPLETION:
            return InlineCompletionRequest
        kind: type[Any] | None = types.METHOD_TO_TYPES.get(method, (None,))[0]
        return kind

    def get_result_type(  # type: ignore[override]
        self, method: str
    ) -> type[Any] | None:
        """Return the type that an answer to a method is parsed to."""
        kind: type[Any] | None = types.METHOD_TO_TYPES.get(method, (None, None))[1]
        return kind

    def structure_message(self, data: dict[str, Any]) -> Any:
        """Parse a message; a request that cannot be parsed is answered here."""
        if data.get("method") == types.INITIALIZE:
            _keep_empty_capability(data)
            copilot.correct_capabilities(data.get("params"))
        if "method" in data:
            # Optional in JSON-RPC, but not in pygls where it does not know the method.
            data.setdefault("params", None)
        if data.get("method") == types.INITIALIZED:
            # Lisp's empty object comes as null.
            data["params"] = data["params"] or {}
        try:
            return super().structure_message(data)
        except JsonRpcException as error:
            method = str(data.get("method", ""))
            logger.error("%s: its parameters cannot be read", method or "message")
            if "id" in data and method:
                self._refuse(
                    data["id"],
                    types.ErrorCodes.InvalidParams,
                    f"The parameters of {method} do not follow the protocol.",
                )
            return _Unreadable(error)

    def handle_message(self, message: Any) -> None:
        """Dispatch a message, refusing requests out of their time."""
        if isinstance(message, _Unreadable):
            return
        if not hasattr(message, "jsonrpc"):
            # json_rpc's object hook hands on what is no message at all.
            logger.error("A message that is no JSON-RPC message was ignored.")
            return
        method = getattr(message, "method", None)
        is_request = method is not None and hasattr(message, "id")
        if method == types.INITIALIZE:
            if self._initialized:
                self._refuse(
                    message.id, types.ErrorCodes.InvalidRequest, "initialize came twice"
                )
                return
            self._initialized = True
        elif method is not None and method != types.EXIT and not self._initialized:
            if is_request:
                self._refuse(
                    message.id,
                    types.ErrorCodes.ServerNotInitialized,
                    "initialize must come first",
                )
            return
        elif self._shutdown and is_request:
            self._refuse(
                message.id, types.ErrorCodes.InvalidRequest, "shutdown came before"
            )
            return
        if method is not None and not self._is_known(method):
            # Copilot's clients speak of chats, tools and quotas; that is no error.
            logger.info("%s is not known here", method)
            if is_request:
                self._refuse(
                    message.id,
                    types.ErrorCodes.MethodNotFound,
                    f"There is no method {method} here.",
                )
            return
        super().handle_message(message)

    @lsp_method(types.EXIT)
    def lsp_exit(self, *args: Any) -> Generator[Any, Any, None]:
        """Stop; remember the exit code LSP asks for."""
        self.exit_code = 0 if self._shutdown else 1
        yield from super().lsp_exit(*args)

    def _is_known(self, method: str) -> bool:
        return method == types.CANCEL_REQUEST or any(
            method in features
            for features in (self.fm.builtin_features, self.fm.features)
        )

    def _refuse(self, message_id: Any, code: types.ErrorCodes, text: str) -> None:
        self._send_response(
            message_id, error=types.ResponseError(code=code.value, message=text)
        )


def _keep_empty_capability(data: dict[str, Any]) -> None:
    """Make ``inlineCompletion: null`` an empty object.

    lsp-mode writes Lisp's empty object as null, and still means that it can do it.
    """
    capabilities: Any = data
    for key in ("params", "capabilities", "textDocument"):
        capabilities = capabilities.get(key) if isinstance(capabilities, dict) else None
    if isinstance(capabilities, dict) and "inlineCompletion" in capabilities:
        capabilities["inlineCompletion"] = capabilities["inlineCompletion"] or {}


class _Unreadable:
    """Stands for a message that could not be parsed and was answered if it could."""

    def __init__(self, error: JsonRpcException) -> None:
        self.error = error


def log_server_error(error: Exception, source: type[PyglsError]) -> None:
    """Log an error that pygls caught, without its text, which may hold source."""
    logger.error("%s in %s", type(error).__name__, source.__name__)
