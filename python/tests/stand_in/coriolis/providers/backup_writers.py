"""Writers to files that behave like those to a worker: they know seek and write, queue what they get,
and tell of an error at a later write, or when they are closed."""

import contextlib
import hashlib
import queue
import threading

from coriolis import exception


class Faults:
    """What goes wrong, and what was written."""

    def __init__(self):
        self.clear()

    def clear(self):
        #: Bytes until a write fails.
        self.fail_after = None
        #: Called with the bytes written so far, before each write.
        self.before_write = lambda written: None
        self.written = 0
        self.open = 0
        self.corrupt = False


faults = Faults()


class BackupWritersFactory:
    def __init__(self, writer_connection_info, volumes_info):
        assert writer_connection_info["backend"] == "http_backup_writer"
        self._volumes_info = volumes_info

    def get_writer(self):
        return Writer(self._volumes_info)


class Writer:
    def __init__(self, volumes_info):
        self._volumes_info = volumes_info

    @contextlib.contextmanager
    def open(self, path, disk_id):
        [volume] = [one for one in self._volumes_info if one["disk_id"] == disk_id]
        writer = WriterImpl(volume["volume_dev"])
        faults.open += 1
        try:
            yield writer
        finally:
            faults.open -= 1
            writer.close()


class WriterImpl:
    def __init__(self, path):
        self._offset = None
        self._exception = None
        self._queue = queue.Queue(maxsize=5)
        self._file = open(path, "r+b", buffering=0)
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self):
        while True:
            piece = self._queue.get()
            if piece is None:
                return
            if self._exception is None:
                try:
                    self._take(*piece)
                except Exception as error:
                    self._exception = error

    def _take(self, offset, data):
        faults.before_write(faults.written)
        fails = faults.fail_after is not None and faults.written + len(data) > faults.fail_after
        if fails:
            # Some of it is there, as it is when a connection breaks.
            data = data[: faults.fail_after - faults.written]
        faults.written += len(data)
        if faults.corrupt:
            data = bytes(len(data))
        self._file.seek(offset)
        assert self._file.write(data) == len(data)
        if fails:
            raise IOError("the worker answers 500")

    def seek(self, pos):
        self._offset = pos

    def truncate(self, size):
        pass

    def write(self, data):
        if self._exception:
            raise exception.CoriolisException(self._exception)
        self._queue.put((self._offset, data))
        self._offset += len(data)

    def get_disk_checksum(self, algorithm, start_offset=0, end_offset=0):
        self._queue.put(None)
        self._thread.join()
        if self._exception:
            raise exception.CoriolisException("cannot checksum: %s" % self._exception)
        self._thread = threading.Thread(target=self._send)
        self._thread.start()
        self._file.seek(start_offset)
        digest = hashlib.new(algorithm, self._file.read(end_offset - start_offset))
        return {"checksum": digest.hexdigest(), "algorithm": algorithm}

    def close(self):
        self._queue.put(None)
        self._thread.join()
        self._file.close()
        if self._exception:
            raise exception.CoriolisException(self._exception)
