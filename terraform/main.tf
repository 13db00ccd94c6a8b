# What Terraform knows of the fleet: which file, in which version, for which environment. The built-in provider alone, so
# that nothing has to be fetched; a change of the file is a change of the plan.
resource "terraform_data" "fleet" {
  input = {
    name        = var.fleet
    environment = var.environment
    file_sha256 = filesha256(var.fleet_file)
  }
}
