"""TOML -> search space -> `HeadConfig`; nothing here imports TensorFlow or Keras at the top."""
