"""E[φ(u)φ(v)] and E[φ'(u)φ'(v)] in 60 digits: closed forms as they stand in the papers, and brute-force sums."""

from mpmath import mp, mpf

DIGITS = 60


def exact(number):
    """A float64 as the number that it is."""
    return mpf(float(number))


def leaky_relu(slope):
    """Cho & Saul 2009 and linearity."""

    def dual(x, z, v):
        theta, norm = mp.acos(1 - v), mp.sqrt(x * z)
        rectified = norm * (mp.sin(theta) + (mp.pi - theta) * mp.cos(theta)) / (2 * mp.pi)
        a = exact(slope)
        return a * norm * (1 - v) + (1 - a) ** 2 * rectified, a + (1 - a) ** 2 * (mp.pi - theta) / (2 * mp.pi)

    return dual


def sine(omega, phase, amplitude):
    """From the characteristic function of u − v and u + v."""

    def dual(x, z, v):
        w2, half, kappa = exact(omega) ** 2, exact(amplitude) ** 2 / 2, mp.cos(2 * phase())
        c = mp.sqrt(x * z) * (1 - v)
        minus, plus = mp.exp(-w2 * ((x + z) / 2 - c)), mp.exp(-w2 * ((x + z) / 2 + c))
        return half * (minus - kappa * plus), half * w2 * (minus + kappa * plus)

    return dual


def erf(x, z, v):
    """Williams 1997."""
    c, d = mp.sqrt(x * z) * (1 - v), (1 + 2 * x) * (1 + 2 * z)
    return 2 / mp.pi * mp.asin(2 * c / mp.sqrt(d)), 4 / mp.pi / mp.sqrt(d - 4 * c * c)


def gaussian(x, z, v):
    """The Gaussian integral of e^(−u² − v²)."""
    c = mp.sqrt(x * z) * (1 - v)
    d = (1 + 2 * x) * (1 + 2 * z) - 4 * c * c
    return 1 / mp.sqrt(d), 4 * c / d ** mpf("1.5")


def gelu(x, z, v):
    """Tsuchida et al. 2021."""
    c = mp.sqrt(x * z) * (1 - v)
    d = (1 + x) * (1 + z) - c * c
    both = mpf(1) / 4 + mp.asin(c / mp.sqrt((1 + x) * (1 + z))) / (2 * mp.pi)
    density, mean = 1 / (2 * mp.pi * mp.sqrt(d)), 1 / (1 + x) + 1 / (1 + z)
    return c * both + density * (x * z + c * c * (mean - 1)), both + c * density * (mean + 1 / d)


def sign(x, z, v):
    """The arcsine law."""
    return 1 - 2 * mp.acos(1 - v) / mp.pi, mpf(1)


def moment(i, j, x, z, c):
    """E[u^i v^j] by Isserlis: k pairings across, the others within."""
    if (i + j) % 2:
        return mpf(0)
    return mp.fsum(
        mp.binomial(i, k)
        * mp.binomial(j, k)
        * mp.factorial(k)
        * c**k
        * x ** ((i - k) // 2)
        * mp.fac2(i - k - 1)
        * z ** ((j - k) // 2)
        * mp.fac2(j - k - 1)
        for k in range(min(i, j) + 1)
        if (i - k) % 2 == 0
    )


def polynomial(coefficients):
    """Every product of monomials."""

    def dual(x, z, v):
        c, p = mp.sqrt(x * z) * (1 - v), [exact(a) for a in coefficients]
        degrees = range(len(p))
        value = mp.fsum(p[i] * p[j] * moment(i, j, x, z, c) for i in degrees for j in degrees)
        slope = mp.fsum(i * j * p[i] * p[j] * moment(i - 1, j - 1, x, z, c) for i in degrees[1:] for j in degrees[1:])
        return value, slope

    return dual


POLYNOMIAL = (0.5, 1.0, -0.3, 0.1)
CLOSED = {
    "identity": polynomial((0.0, 1.0)),
    "relu": leaky_relu(0.0),
    "leaky_relu": leaky_relu(0.01),
    "abs": leaky_relu(-1.0),
    "sign": sign,
    "erf": erf,
    "gelu": gelu,
    "sin": sine(1, lambda: mpf(0), 1),
    "cos": sine(1, lambda: mp.pi / 2, 1),
    "siren": sine(30, lambda: mpf(0), 1),
    "rbf": sine(2**0.5, lambda: mp.pi / 4, 2**0.5),
    "gaussian": gaussian,
    "polynomial": polynomial(POLYNOMIAL),
}


def closed(name, q_x, q_z, v):
    """E[φφ] and E[φ'φ'] of one pair."""
    with mp.workdps(DIGITS):
        return CLOSED[name](exact(q_x), exact(q_z), exact(v))


def _sigmoid(u):
    return 1 / (1 + mp.exp(-u))


#: φ and φ'.
SMOOTH = {
    "tanh": (mp.tanh, lambda u: 1 - mp.tanh(u) ** 2),
    "sigmoid": (_sigmoid, lambda u: _sigmoid(u) * (1 - _sigmoid(u))),
    "silu": (lambda u: u * _sigmoid(u), lambda u: _sigmoid(u) * (1 + u * (1 - _sigmoid(u)))),
    "softplus": (lambda u: mp.log1p(mp.exp(u)), _sigmoid),
}
SMOOTH["swish"] = SMOOTH["silu"]


def summed(name, q_x, q_z, v, step=0.2):
    """The expectations of a smooth φ by a trapezoidal rule in the plane, in 25 digits.

    u, v = σ_x (c s + d t), σ_z (c s − d t) with c, d the cosine and sine of θ/2. On ±9 its error is that of the tails
    and of e^(−2π·distance of the nearest pole/step).
    """
    with mp.workdps(25):
        v, step = exact(v), mpf(step)
        c, d = mp.sqrt(1 - v / 2), mp.sqrt(v / 2)
        s_x, s_z = mp.sqrt(exact(q_x)), mp.sqrt(exact(q_z))
        reach = int(9 / step)
        weight = [mp.exp(-((k * step) ** 2) / 2) * step / mp.sqrt(2 * mp.pi) for k in range(reach + 1)]
        phi, slope = SMOOTH[name]
        value = derivative = mpf(0)
        for i in range(-reach, reach + 1):
            for j in range(-reach, reach + 1):
                w = weight[abs(i)] * weight[abs(j)]
                if w < 1e-19:
                    continue
                a, b = s_x * (c * i + d * j) * step, s_z * (c * i - d * j) * step
                value += w * phi(a) * phi(b)
                derivative += w * slope(a) * slope(b)
        return value, derivative
