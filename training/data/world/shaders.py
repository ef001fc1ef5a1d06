"""The shading rules, as GLSL. `shading.py` says the same in torch; a change here is a change there.

Boxes are drawn as cubes. Cylinders and ellipsoids are drawn as the cubes around them, and the fragment shader finds the
exact hit on the solid inside, so curved things have true outlines, depths and normals at the price of twelve triangles.
"""

from __future__ import annotations

from .lights import MAX_LIGHTS

__all__ = ["BOX_FRAGMENT", "CURVED_FRAGMENT", "VERTEX"]

# One instance is a primitive: rows of world_from_axes scaled by the half extents, and how it looks.
VERTEX = """
#version 330
uniform mat4 clip_from_world;
uniform vec4 depth_row;      // view depth = dot(depth_row, world point)
uniform vec3 eye;
in vec3 corner;
in vec3 face;
in vec4 row0, row1, row2;    // world_from_unit, last column the centre
in vec4 half_taper;
in vec4 first_layer, second_repeat;
in vec4 shift_emission_id;
in float kind;
out vec3 world;
out vec3 unit;
out float depth;
out vec2 flatmap;
flat out vec3 normal;
flat out vec4 f_row0, f_row1, f_row2, f_half, f_first, f_second, f_misc;
flat out vec3 origin;
flat out float f_kind;
void main() {
    vec4 p = vec4(corner, 1.0);
    world = vec3(dot(row0, p), dot(row1, p), dot(row2, p));
    depth = dot(depth_row, vec4(world, 1.0));
    unit = corner;
    gl_Position = clip_from_world * vec4(world, 1.0);
    vec3 n = face / half_taper.xyz;
    normal = normalize(vec3(dot(row0.xyz, n), dot(row1.xyz, n), dot(row2.xyz, n)) );
    vec3 m = corner * half_taper.xyz;
    flatmap = abs(face.z) > 0.5 ? m.xy : abs(face.y) > 0.5 ? m.xz : m.yz;
    f_row0 = row0; f_row1 = row1; f_row2 = row2; f_half = half_taper;
    f_first = first_layer; f_second = second_repeat; f_misc = shift_emission_id;
    vec3 away = eye - vec3(row0.w, row1.w, row2.w);
    vec3 inverse2 = 1.0 / (half_taper.xyz * half_taper.xyz);
    origin = vec3(dot(vec3(row0.x, row1.x, row2.x), away), dot(vec3(row0.y, row1.y, row2.y), away),
                  dot(vec3(row0.z, row1.z, row2.z), away)) * inverse2;
    f_kind = kind;
}
"""

_COMMON = (
    f"""
#version 330
#define LIGHTS {MAX_LIGHTS}
"""
    + """
uniform sampler2DArray patterns;
uniform sampler3D solid;
uniform vec3 room;           // size of the room's box; it starts at the world's origin
uniform vec3 eye;
uniform float pixel;         // metres that a pixel covers at one metre
uniform vec3 light_at[LIGHTS];
uniform vec3 light_colour[LIGHTS];
uniform float light_fade[LIGHTS];
uniform vec3 ambient;
uniform float side;          // texels of a pattern
layout(location = 0) out vec4 colour_id;
layout(location = 1) out float metres;

vec3 shade(vec3 p, vec3 n, vec2 uv, float z, vec4 first, vec4 second, vec4 misc) {
    vec3 to_eye = normalize(eye - p);
    float slant = max(abs(dot(n, to_eye)), 0.08);
    float texels = pixel * length(eye - p) * inversesqrt(slant) / second.w * side;
    float mixed = textureLod(patterns, vec3(uv / second.w + misc.xy, first.w), log2(max(texels, 1.0))).r;
    vec3 albedo = mix(first.rgb, second.rgb, mixed);
    float near_solid = texture(solid, (p + 0.13 * n) / room).r;
    float open = clamp(1.5 - 1.9 * near_solid, 0.15, 1.0);
    vec3 light = ambient * (0.8 + 0.2 * n.z) * open;
    for (int k = 0; k < LIGHTS; ++k) {
        vec3 d = light_at[k] - p;
        float d2 = dot(d, d);
        float facing = max(0.0, 0.85 * dot(n, d) * inversesqrt(d2) + 0.15);
        light += light_colour[k] * (facing * (0.35 + 0.65 * open) / (1.0 + d2 * light_fade[k]));
    }
    vec3 c = albedo * (light + misc.z * vec3(1.4));
    c = c / (1.0 + 0.25 * c);
    return sqrt(clamp(c, 0.0, 1.0));
}
"""
)

BOX_FRAGMENT = (
    _COMMON
    + """
in vec3 world;
in float depth;
in vec2 flatmap;
flat in vec3 normal;
flat in vec4 f_first, f_second, f_misc;
void main() {
    colour_id = vec4(shade(world, normal, flatmap, depth, f_first, f_second, f_misc), f_misc.w / 255.0);
    metres = depth;
}
"""
)

CURVED_FRAGMENT = (
    _COMMON
    + """
uniform vec2 planes;         // clip depth = planes.x + planes.y / view depth
in vec3 world;
in vec3 unit;
in float depth;
flat in vec4 f_row0, f_row1, f_row2, f_half, f_first, f_second, f_misc;
flat in vec3 origin;
flat in float f_kind;
void main() {
    // In unit coordinates the ray runs from `origin` (the eye) to `unit` (this cube's far face), parameter 0 to 1.
    vec3 d = unit - origin;
    float middle = -dot(origin, d) / dot(d, d);
    vec3 o = origin + middle * d;         // nearest to the centre: keeps the numbers small
    float hit = 1e9;
    vec3 n_unit = vec3(0.0);
    if (f_kind > 1.5) {
        float dd = dot(d, d), c = dot(o, o) - 1.0;
        float disc = -dd * c;
        if (disc < 0.0) discard;
        float root = sqrt(disc) / dd;
        hit = middle - root > 0.0 ? middle - root : middle + root;
        n_unit = origin + hit * d;
    } else {
        float b = 0.5 * (f_half.w - 1.0), a = 0.5 * (f_half.w + 1.0);
        float radius = a + b * o.z;
        float qa = dot(d.xy, d.xy) - b * b * d.z * d.z;
        float qb = dot(o.xy, d.xy) - b * d.z * radius;
        float qc = dot(o.xy, o.xy) - radius * radius;
        float disc = qb * qb - qa * qc;
        if (abs(qa) < 1e-9) qa = 1e-9;
        if (disc >= 0.0) {
            float root = sqrt(disc);
            for (int k = 0; k < 2; ++k) {
                float s = (-qb + (k == 0 ? -root : root)) / qa;
                vec3 p = o + s * d;
                float t = s + middle;
                if (t > 0.0 && t < hit && abs(p.z) <= 1.0 && a + b * p.z >= 0.0) {
                    hit = t;
                    n_unit = vec3(p.xy, -b * (a + b * p.z));
                }
            }
        }
        for (int k = 0; k < 2; ++k) {
            float cap = k == 0 ? -1.0 : 1.0;
            float t = (cap - origin.z) / d.z;
            vec2 p = origin.xy + t * d.xy;
            float r = a + b * cap;
            if (t > 0.0 && t < hit && dot(p, p) <= r * r) {
                hit = t;
                n_unit = vec3(0.0, 0.0, cap);
            }
        }
        if (hit > 1e8) discard;
    }
    vec3 u = origin + hit * d;
    vec3 p = eye + hit * (world - eye);
    float z = hit * depth;
    vec3 m = n_unit / (f_half.xyz * f_half.xyz);
    vec3 normal = normalize(vec3(dot(f_row0.xyz, m), dot(f_row1.xyz, m), dot(f_row2.xyz, m)));
    vec2 uv = abs(n_unit.z) > 0.99 && f_kind < 1.5 ? u.xy * f_half.xy
        : vec2(atan(u.y, u.x) * f_half.x, u.z * f_half.z);
    colour_id = vec4(shade(p, normal, uv, z, f_first, f_second, f_misc), f_misc.w / 255.0);
    metres = z;
    gl_FragDepth = 0.5 + 0.5 * (planes.x + planes.y / z);
}
"""
)
