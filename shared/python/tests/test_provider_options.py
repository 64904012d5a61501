"""Options of provider packages that their hooks ask for, where nobody has set them."""

from dagbok.models.configuration import conf


def test_a_kubernetes_hook_finds_its_options() -> None:
    assert conf.getint("kubernetes_executor", "tcp_keep_idle") == 120
    assert conf.getboolean("kubernetes_executor", "enable_tcp_keepalive")
