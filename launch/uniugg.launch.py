"""Starts the UniUGG node, and RViz if asked.

    ros2 launch uniugg_ros uniugg.launch.py image:=/camera/color/image_raw camera_info:=/camera/color/camera_info
    ros2 launch uniugg_ros uniugg.launch.py -s      # every argument with its meaning and default

By default the node configures and activates itself. With ``autostart:=false`` a lifecycle manager does, or

    ros2 lifecycle set /uniugg configure && ros2 lifecycle set /uniugg activate
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

PACKAGE = "uniugg_ros"

# name, default, meaning. A default that is a tuple is a path inside this package.
ARGUMENTS = (
    ("image", "image", "Topic of the camera's images; with image_transport:=compressed the name without /compressed."),
    ("camera_info", "camera_info", "Topic of the camera's calibration."),
    ("target_pose", "target_pose", "Topic of the poses to look from (geometry_msgs/PoseStamped, any TF frame)."),
    ("params_file", ("config", "uniugg.yaml"), "Parameter file; the parameters given as arguments win over it."),
    ("image_transport", "", "raw or compressed; empty: as in the parameter file."),
    ("model", "", "Checkpoint folder or preset; empty: as in the parameter file."),
    ("device", "", "cpu, cuda, cuda:N, or auto; empty: as in the parameter file."),
    ("autostart", "", "Whether the node configures and activates itself; empty: as in the parameter file."),
    ("name", "uniugg", "Name of the node."),
    ("namespace", "", "Namespace of the node and of its relative topics."),
    ("use_sim_time", "false", "Take the time from /clock, as when a bag is played with --clock."),
    ("log_level", "info", "debug, info, warn, error or fatal."),
    (
        "fastdds_profile",
        ("config", "fastdds.xml"),
        "Fast DDS profile; without one like it images over 512 KB are lost.",
    ),
    ("omp_wait_policy", "PASSIVE", "How the threads of torch wait; ACTIVE starves the other nodes on the same cores."),
    ("rviz", "false", "Whether to start RViz as well."),
    (
        "rviz_config",
        ("rviz", "uniugg.rviz"),
        "What RViz shows; its topics are those of a node called uniugg without namespace.",
    ),
)

# Arguments that are parameters of the node, and their types.
PARAMETERS = {"image_transport": str, "model": str, "device": str, "autostart": bool, "use_sim_time": bool}


def generate_launch_description() -> LaunchDescription:
    """The arguments, the environment of the processes, the node and RViz."""
    value = {name: LaunchConfiguration(name) for name, _, _ in ARGUMENTS}
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=_default(default), description=text)
                for name, default, text in ARGUMENTS
            ),
            # The first name is read by Fast DDS of Humble and Jazzy, the second from Kilted on.
            SetEnvironmentVariable("FASTRTPS_DEFAULT_PROFILES_FILE", value["fastdds_profile"]),
            SetEnvironmentVariable("FASTDDS_DEFAULT_PROFILES_FILE", value["fastdds_profile"]),
            SetEnvironmentVariable("OMP_WAIT_POLICY", value["omp_wait_policy"]),
            OpaqueFunction(function=_node),
            Node(
                package="rviz2",
                executable="rviz2",
                name="rviz2",
                arguments=["-d", value["rviz_config"]],
                parameters=[{"use_sim_time": ParameterValue(value["use_sim_time"], value_type=bool)}],
                condition=IfCondition(value["rviz"]),
            ),
        ]
    )


def _node(context: LaunchContext) -> "list[LifecycleNode]":
    """The node. An argument left empty sets no parameter, for it would win over the parameter file."""
    value = {name: LaunchConfiguration(name) for name, _, _ in ARGUMENTS}
    given = {
        name: ParameterValue(value[name], value_type=kind)
        for name, kind in PARAMETERS.items()
        if value[name].perform(context)
    }
    return [
        LifecycleNode(
            package=PACKAGE,
            executable="uniugg_node",
            name=value["name"],
            namespace=value["namespace"],
            output="screen",
            emulate_tty=True,
            parameters=[value["params_file"], given],
            remappings=[
                ("image", value["image"]),
                ("image/compressed", [value["image"], "/compressed"]),
                ("camera_info", value["camera_info"]),
                ("target_pose", value["target_pose"]),
            ],
            ros_arguments=["--log-level", value["log_level"]],
        )
    ]


def _default(default: "str | tuple[str, ...]") -> "str | PathJoinSubstitution":
    if isinstance(default, tuple):
        return PathJoinSubstitution([FindPackageShare(PACKAGE), *default])
    return default
