"""Messages that an app sends to a broker, whichever protocol it speaks, and of which it is told more later."""
