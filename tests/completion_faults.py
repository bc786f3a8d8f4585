"""What a completion server may do in place of answering."""

from __future__ import annotations

import json
import socket
import time

from completion_server import Fault, Handler

KEY = "sk-not-for-your-eyes-0123456789"


def tells(text: str) -> Fault:
    """Stream a text, and end as one should."""

    def fault(handler: Handler) -> None:
        handler.begin_stream()
        handler.send_text(text)
        handler.send_text("", "stop")
        handler.send_event("[DONE]")
        handler.end_stream()

    return fault


def refuses(status: int, **headers: str) -> Fault:
    said = {"error": {"message": f"the server's own words about {KEY}"}}
    return lambda handler: handler.send_json(status, said, **headers)


def echoes(status: int) -> Fault:
    """Refuse a request as FastAPI's checks do: with everything that was sent."""

    def fault(handler: Handler) -> None:
        body = handler.asked.body
        prompt = body["prompt"]
        if not isinstance(prompt, str):
            prompt = handler.owner.brain.tokenizer.decode(prompt)
        wrong = {"type": "int_type", "loc": ["body", "n"], "input": [prompt, body]}
        said = {"detail": [{**wrong, "msg": prompt}], "message": prompt, **body}
        error = {"type": "Bad Request", "code": 400, "message": str([wrong])}
        handler.send_json(status, said if status == 422 else {"error": error})

    return fault


def sends(content: bytes, kind: str = "application/json") -> Fault:
    return lambda handler: handler.send_whole(200, content, kind)


def streams(*events: str, kind: str = "text/event-stream") -> Fault:
    def fault(handler: Handler) -> None:
        handler.begin_stream(kind)
        for event in events:
            handler.send_event(event)
        handler.end_stream()

    return fault


def is_silent(handler: Handler) -> None:
    """Take the request and say nothing, not even a status."""
    handler.wait_for_hang_up()


def only_pings(handler: Handler) -> None:
    """Send comments, as proxies do to keep a connection open."""
    handler.begin_stream()
    while not handler.asked.hung_up.is_set():
        handler.send_chunk(b": ping\n\n")
        time.sleep(0.05)


def stalls(handler: Handler) -> None:
    """Begin to answer, and say nothing more."""
    handler.begin_stream()
    handler.send_text("return x")
    handler.wait_for_hang_up()


def breaks_off(handler: Handler) -> None:
    """Close the connection within the answer."""
    handler.begin_stream()
    handler.send_text("return x")
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def ends_early(handler: Handler) -> None:
    """End the stream without having said that the text is whole."""
    handler.begin_stream()
    handler.send_text("return x")
    handler.end_stream()


def hangs_up(handler: Handler) -> None:
    """Close the connection before a word."""
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def never_ends_a_line(handler: Handler) -> None:
    handler.begin_stream()
    while not handler.asked.hung_up.is_set():
        handler.send_chunk(b"data: " + b"x" * 65_536)


def cuts_characters(handler: Handler) -> None:
    """Send every byte of the answer in a chunk of its own."""
    handler.begin_stream()
    event = {"choices": [{"text": "é日😀", "finish_reason": "stop"}]}
    for byte in f"data: {json.dumps(event, ensure_ascii=False)}\r\n\r\n".encode():
        handler.send_chunk(bytes([byte]))
    handler.send_event("[DONE]")
    handler.end_stream()
