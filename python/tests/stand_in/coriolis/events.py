class EventManager:
    """Numbers its bars, and tells the handler."""

    def __init__(self, event_handler):
        self._event_handler = event_handler
        self._messages = []

    def add_percentage_step(self, message, total_steps, initial_step=0):
        self._messages.append(message)
        return len(self._messages) - 1

    def set_percentage_step(self, step, new_current_step):
        self._event_handler.progress(self._messages[step], new_current_step)
