variable "fleet" {
  description = "Name of the fleet, as in [fleet] of windlass.toml: lower-case letters, digits and '-', a letter first."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,30}$", var.fleet))
    error_message = "A fleet's name has up to 31 lower-case letters, digits and '-', and begins with a letter."
  }
}

variable "environment" {
  description = "Environment that is applied: development, staging or production."
  type        = string
  default     = "development"

  validation {
    condition     = contains(["development", "staging", "production"], var.environment)
    error_message = "The environment is development, staging or production."
  }
}

variable "fleet_file" {
  description = "The fleet file that Windlass applies, relative to this directory."
  type        = string
  default     = "../windlass.toml"

  validation {
    condition     = fileexists(var.fleet_file)
    error_message = "There is no such fleet file."
  }
}
