//! The executor of pods against a double of the API server, with the scheduler and the kubelets played by tests. All of it is in
//! `tests/pods`: what is here knows the executor that runs in a pod, which the crate of pods must not.
