"""Files of run history: opened whatever they are packed in, cut, told apart."""
