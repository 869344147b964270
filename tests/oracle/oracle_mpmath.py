"""The formulas of the paper in 80 digits, written as they stand, with no care for cancellation."""

from mpmath import mp, mpf

DIGITS = 80


def exact(number):
    """A float64 as the number that it is."""
    return mpf(float(number))


def versine(frequencies, amplitudes, lag):
    """1 − Σ a² cos(2πb·Δ)/Σ a²."""
    with mp.workdps(DIGITS):
        squares = [exact(a) ** 2 for a in amplitudes]
        phases = [sum(exact(b) * exact(d) for b, d in zip(row, lag, strict=True)) for row in frequencies]
        inner = mp.fsum(w * mp.cos(2 * mp.pi * phase) for w, phase in zip(squares, phases, strict=True))
        return 1 - inner / mp.fsum(squares)


def relu_dual(q_x, q_z, v):
    """Versine of the output and E[φ'φ'], Cho & Saul equations 3 to 6."""
    with mp.workdps(DIGITS):
        theta = mp.acos(1 - mpf(v))
        correlation = (mp.sin(theta) + (mp.pi - theta) * mp.cos(theta)) / mp.pi
        return 1 - correlation, (mp.pi - theta) / (2 * mp.pi)


def mlp(q_x, q_z, v, *, depth, W_std, b_std, parametrization, width, fan_in):
    """NNGP and NTK of a ReLU network from mean squares and versine of its inputs."""
    with mp.workdps(DIGITS):
        W2, b2 = exact(W_std) ** 2, exact(b_std) ** 2
        k_xx, k_zz = mpf(q_x), mpf(q_z)
        k_xz = mp.sqrt(k_xx * k_zz) * (1 - mpf(v))
        theta = mpf(0)
        for layer in range(depth + 1):
            if layer:
                norm = mp.sqrt(k_xx * k_zz)
                angle = mp.acos(min(max(k_xz / norm, mpf(-1)), mpf(1)))
                k_xz = norm * (mp.sin(angle) + (mp.pi - angle) * mp.cos(angle)) / (2 * mp.pi)
                theta *= (mp.pi - angle) / (2 * mp.pi)
                k_xx, k_zz = k_xx / 2, k_zz / 2
            fan = fan_in if layer == 0 else width
            before = k_xz
            k_xx, k_zz, k_xz = W2 * k_xx + b2, W2 * k_zz + b2, W2 * k_xz + b2
            theta = (fan * before + 1 if parametrization == "standard" else k_xz) + W2 * theta
        return k_xz, theta


def mlp_of_inputs(x, z, **network):
    """`mlp` of two input vectors."""
    with mp.workdps(DIGITS):
        x, z = [exact(v) for v in x], [exact(v) for v in z]
        xx, zz = mp.fsum(v * v for v in x), mp.fsum(v * v for v in z)
        xz = mp.fsum(a * b for a, b in zip(x, z, strict=True))
        return mlp(xx / len(x), zz / len(z), 1 - xz / mp.sqrt(xx * zz), fan_in=len(x), **network)


def descent_residual(rate, step):
    """(1 − x)^t."""
    with mp.workdps(DIGITS):
        return (1 - exact(rate)) ** int(step)


def flow_residual(rate, step):
    """e^{−xt}."""
    with mp.workdps(DIGITS):
        return mp.exp(-exact(rate) * exact(step))
