"""Opens a page in a headless Chromium and says what happened, as one JSON object.

    browser.py PAGE [--width N] [--height N] [--dark] [--keys KEY...] [--screenshot FILE] [--full] [--eval EXPRESSION]

Talks the DevTools protocol over a pipe: nothing listens, nothing but Python's own library is needed.
"""
import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

LIMIT_S = 120


class Browser:
    def __init__(self, profile):
        to_read, self.to_write = os.pipe()
        self.from_read, from_write = os.pipe()

        def place():
            # The browser wants its pipes as 3 and 4; copies above them first, so that neither hides the other.
            low, high = os.dup2(to_read, 103), os.dup2(from_write, 104)
            os.dup2(low, 3)
            os.dup2(high, 4)

        program = shutil.which("chromium") or "chromium"
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                 "--disable-background-networking", "--disable-component-update", "--no-first-run",
                 "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen([program, *flags], preexec_fn=place, close_fds=False,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(from_write)
        self.rest, self.number, self.events, self.session = b"", 0, [], None
        self.until = time.monotonic() + LIMIT_S

    def receive(self):
        while b"\0" not in self.rest:
            if time.monotonic() > self.until:
                raise TimeoutError("the browser took too long")
            piece = os.read(self.from_read, 1 << 20)
            if not piece:
                raise EOFError("the browser ended")
            self.rest += piece
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.write(message)
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def write(self, message):
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to_write, data):]

    def wait(self, method):
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self.receive())

    def evaluate(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def key(self, name):
        text = {"text": name} if len(name) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=name, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=name)


def visit(args, browser):
    targets = browser.call("Target.getTargets")["targetInfos"]
    page = next(target for target in targets if target["type"] == "page")
    browser.session = browser.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
    for domain in ("Page", "Runtime", "Log", "Network"):
        browser.call(f"{domain}.enable")
    browser.call("Emulation.setDeviceMetricsOverride", width=args.width, height=args.height,
                 deviceScaleFactor=1, mobile=args.width < 640)
    scheme = "dark" if args.dark else "light"
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    address = "file://" + urllib.request.pathname2url(os.path.abspath(args.page))
    browser.events.clear()
    begin = time.monotonic()
    browser.call("Page.navigate", url=address)
    browser.wait("Page.loadEventFired")
    # Two frames later it is on the screen.
    browser.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
    loaded_s = time.monotonic() - begin
    for key in args.keys:
        browser.key(key)
    values = [browser.evaluate(expression) for expression in args.eval]
    result = {
        "loaded_s": loaded_s,
        "text": browser.evaluate("document.body.innerText"),
        "width": browser.evaluate("document.documentElement.scrollWidth"),
        "values": values,
    }
    if args.screenshot:
        shot = browser.call("Page.captureScreenshot", format="png", captureBeyondViewport=args.full,
                            **({"clip": whole(browser)} if args.full else {}))
        with open(args.screenshot, "wb") as file:
            file.write(base64.b64decode(shot["data"]))
    return result | complaints(browser.events, address)


def whole(browser):
    size = browser.call("Page.getLayoutMetrics")["cssContentSize"]
    return {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}


def complaints(events, address):
    """What the console showed, and what was asked of the network."""
    errors, fetched = [], []
    for event in events:
        method, parameters = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            errors.append(parameters["exceptionDetails"].get("exception", {}).get("description", "exception"))
        elif method == "Runtime.consoleAPICalled":
            errors.append(" ".join(str(argument.get("value")) for argument in parameters["args"]))
        elif method == "Log.entryAdded":
            errors.append(parameters["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            url = parameters["request"]["url"]
            if url.split("#")[0] != address and not url.startswith("data:"):
                fetched.append(url)
    return {"errors": errors, "fetched": fetched}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("page")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--screenshot")
    parser.add_argument("--keys", nargs="*", default=[])
    parser.add_argument("--eval", action="append", default=[])
    args = parser.parse_args()
    profile = tempfile.mkdtemp(prefix="retrospan-browser-")
    browser = Browser(profile)
    try:
        json.dump(visit(args, browser), sys.stdout)
    finally:
        browser.process.kill()
        browser.process.wait()
        shutil.rmtree(profile, ignore_errors=True)


main()
