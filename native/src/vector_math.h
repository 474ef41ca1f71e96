// Elementary functions over Vec, good to about 2 units in the last place. The polynomials are least-maximum fits of
// our own; the degrees are the lowest whose error stays under half a unit.
// Included after a simd_*.h.
#pragma once

namespace inglenook {
namespace {

// e^x = 2^n * e^r with |r| <= ln(2) / 2. Below -104 it is 0, above 88.8 infinite.
inline Vec exp(Vec x) {
  x = min(splat(89.0f), max(splat(-104.0f), x));
  const Vec n = round(x * splat(1.44269504f));
  Vec r = fma(n, splat(-0.693359375f), x);  // ln 2 in two parts; the first has few bits, so n times it is exact
  r = fma(n, splat(2.12194440e-4f), r);
  Vec p = splat(0.00138144311f);
  p = fma(p, r, splat(0.00836879667f));
  p = fma(p, r, splat(0.0416683964f));
  p = fma(p, r, splat(0.166665196f));
  p = fma(p, r, splat(0.49999994f));
  p = fma(p, r * r, r);
  return times_power_of_two(p + splat(1.0f), n);
}

// 2^x for x <= 0, exactly 1 at 0. Below -150 it is 0.
inline Vec exp2(Vec x) {
  x = max(splat(-150.0f), x);
  const Vec n = round(x);
  const Vec r = x - n;
  Vec p = splat(0.001326472f);
  p = fma(p, r, splat(0.009671513f));
  p = fma(p, r, splat(0.055507336f));
  p = fma(p, r, splat(0.24022242f));
  p = fma(p, r, splat(0.693147f));
  return times_power_of_two(fma(p, r, splat(1.0f)), n);
}

inline Vec tanh(Vec x) {
  const Vec size = abs(x);
  const Vec s = x * x;
  Vec p = splat(-0.00570497848f);
  p = fma(p, s, splat(0.0206390787f));
  p = fma(p, s, splat(-0.0537397116f));
  p = fma(p, s, splat(0.133314416f));
  p = fma(p, s, splat(-0.333332807f));
  const Vec small = fma(p * s, x, x);
  const Vec one = splat(1.0f);
  const Vec large = one - splat(2.0f) / (exp(size + size) + one);
  return if_less(size, splat(0.625f), small, with_sign_of(large, x));
}

// Small arguments: erf(x) / x - 1 over x^2. Large: 1 - e^(x q(x)) with q fitted to log(erfc(x)) / x up to 4, where
// float32 has reached 1.
inline Vec erf(Vec x) {
  const Vec size = abs(x);
  const Vec s = x * x;
  Vec p = splat(-0.000620325038f);
  p = fma(p, s, splat(0.00503218034f));
  p = fma(p, s, splat(-0.0267914627f));
  p = fma(p, s, splat(0.112824552f));
  p = fma(p, s, splat(-0.376125515f));
  p = fma(p, s, splat(0.128379151f));
  const Vec small = fma(p, x, x);
  const Vec t = min(splat(4.0f), size);
  Vec q = splat(-0.000215225868f);
  q = fma(q, t, splat(0.00322513049f));
  q = fma(q, t, splat(-0.0229224022f));
  q = fma(q, t, splat(0.105312124f));
  q = fma(q, t, splat(0.635680437f));
  q = fma(q, t, splat(1.1285255f));
  const Vec large = splat(1.0f) - exp(splat(0.0f) - q * t);
  return if_less(size, splat(0.875f), small, with_sign_of(large, x));
}

}  // namespace
}  // namespace inglenook
