"""Files over HTTP on this machine: whole, or in the part that a request names."""

from http.server import BaseHTTPRequestHandler


def send_file(
    handler: BaseHTTPRequestHandler,
    data: bytes,
    headers: dict[str, str],
    *,
    ranges: bool = True,
    cut: int | None = None,
) -> int:
    """Answers GET or HEAD with the bytes, and returns how many were sent.

    ranges: whether parts are given. cut: the connection ends after so many bytes.
    """
    asked, size = handler.headers.get("Range"), len(data)
    if asked and ranges:
        first, last = asked.removeprefix("bytes=").split("-")
        data = data[int(first) : int(last or size - 1) + 1]
        handler.send_response(206)
        place = f"bytes {first}-{int(first) + len(data) - 1}/{size}"
        handler.send_header("Content-Range", place)
    else:
        handler.send_response(200)
    if ranges:
        handler.send_header("Accept-Ranges", "bytes")
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    if handler.command != "GET":
        return 0
    if cut is not None:
        data, handler.close_connection = data[:cut], True
    handler.wfile.write(data)
    return len(data)
