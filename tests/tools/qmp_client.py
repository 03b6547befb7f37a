# SPDX-License-Identifier: LGPL-2.1-or-later
"""A client of QMP sockets for tests, which knows nothing of vmckpt's own."""
import array
import json
import socket


class Qmp:
    """Negotiated; `events` holds what came, in its order."""

    def __init__(self, path, timeout=60):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(path)
        self.lines = self.socket.makefile('r', encoding='utf-8')
        self.events, self.number = [], 0
        self.greeting = json.loads(self.lines.readline())['QMP']
        self.run('qmp_capabilities')

    def send(self, command, fd=None, **arguments):
        """Sends a command, with a descriptor; returns its id."""
        self.number += 1
        line = json.dumps({'execute': command, 'arguments': arguments, 'id': self.number}) + '\n'
        passed = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [fd]))]
        self.socket.sendmsg([line.encode()], passed)
        return self.number

    def receive(self):
        """The next answer; events before it are kept."""
        while True:
            message = json.loads(self.lines.readline())
            if 'event' not in message:
                return message
            self.events.append(message)

    def run(self, command, fd=None, **arguments):
        """The answer to a command, whole."""
        number = self.send(command, fd, **arguments)
        answer = self.receive()
        assert answer['id'] == number, answer
        return answer

    def names(self):
        """Events that have come, by name; forgets them."""
        names = [event['event'] for event in self.events]
        self.events.clear()
        return names
