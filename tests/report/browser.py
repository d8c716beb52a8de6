"""A headless Chromium, driven through chromedriver by the WebDriver protocol: a dozen HTTP requests, so that no client
library is needed. Browser and driver live in a directory of their own and end with the object."""
import base64
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request


class Missing(Exception):
    """There is no browser here."""


class Browser:
    def __init__(self, width=1280, height=900, dark=False):
        driver, chromium = shutil.which('chromedriver'), shutil.which('chromium')
        if not driver or not chromium:
            raise Missing('chromium and chromedriver (Debian: chromium, chromium-driver) are not installed')
        self.directory = tempfile.TemporaryDirectory(prefix='benchfs-report-')
        self.driver = subprocess.Popen([driver, '--port=0'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                       env=dict(os.environ, HOME=self.directory.name, TMPDIR=self.directory.name))
        self.session = None
        try:
            for line in self.driver.stdout:
                if 'started successfully on port' in line:
                    self.root = f"http://127.0.0.1:{line.rsplit(' ', 1)[1].strip().rstrip('.')}"
                    break
            arguments = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars', f'--window-size={width},{height}',
                         f'--user-data-dir={self.directory.name}/profile', '--host-resolver-rules=MAP * ~NOTFOUND']
            preferences = {'download.default_directory': self.directory.name, 'download.prompt_for_download': False}
            capabilities = {'goog:loggingPrefs': {'browser': 'ALL'},
                            'goog:chromeOptions': {'binary': chromium, 'args': arguments, 'prefs': preferences}}
            answer = self.request('POST', '/session', {'capabilities': {'alwaysMatch': capabilities}})
            self.session = f"/session/{answer['sessionId']}"
            if dark:
                self.emulate(dark=True)
        except BaseException:
            self.close()
            raise

    def request(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.root + path, data=data, method=method, headers={'Content-Type': 'application/json'})
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                return json.load(reply)['value']
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)['value']['message'].split('\n')[0]) from None

    def command(self, name, **parameters):
        """A command of the browser's own protocol."""
        return self.request('POST', f'{self.session}/goog/cdp/execute', {'cmd': name, 'params': parameters})

    def emulate(self, dark=False, media=''):
        features = [{'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}]
        self.command('Emulation.setEmulatedMedia', media=media, features=features)

    def open(self, path):
        self.request('POST', f'{self.session}/url', {'url': pathlib.Path(path).absolute().as_uri()})

    def run(self, script):
        """The value of a function body."""
        return self.request('POST', f'{self.session}/execute/sync', {'script': script, 'args': []})

    def log(self):
        return [entry['message'] for entry in self.request('POST', f'{self.session}/se/log', {'type': 'browser'})]

    def resize(self, width, height):
        self.command('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=False)

    def screenshot(self, path, whole=True):
        answer = self.command('Page.captureScreenshot', format='png', captureBeyondViewport=whole, **({'clip': self.page()} if whole else {}))
        pathlib.Path(path).write_bytes(base64.b64decode(answer['data']))

    def page(self):
        width, height = self.run('return [document.documentElement.scrollWidth, document.documentElement.scrollHeight]')
        return {'x': 0, 'y': 0, 'width': width, 'height': min(height, 15000), 'scale': 1}

    def print(self, path):
        answer = self.request('POST', f'{self.session}/print', {'background': True})
        pathlib.Path(path).write_bytes(base64.b64decode(answer))

    def close(self):
        try:
            if self.session:
                self.request('DELETE', self.session)
        except (OSError, RuntimeError):
            pass
        self.driver.terminate()
        try:
            self.driver.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.driver.kill()
            self.driver.wait()
        self.directory.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()
